import { type CudaInfo, native } from "@md/native";
import { deviceCode, type DeviceName } from "./device.js";

/** Native memory of this Node environment on one device. */
export interface MemoryInfo {
  /** On all devices together. */
  liveTensors: number;
  /** Bytes in blocks that live tensors hold. */
  liveBytes: number;
  /** The highest `liveBytes` since the start or the last {@link resetPeakMemory}. */
  peakBytes: number;
  /** Bytes kept for reuse. */
  cachedBytes: number;
  /** An allocation that would take `liveBytes` beyond it throws OutOfMemoryError. Default: all memory of the device. */
  limitBytes: number;
}

export function memory(device?: DeviceName): MemoryInfo {
  const [liveTensors, liveBytes, peakBytes, cachedBytes, limitBytes] = native.memory(deviceCode("memory", device));
  return {
    liveTensors: liveTensors!,
    liveBytes: liveBytes!,
    peakBytes: peakBytes!,
    cachedBytes: cachedBytes!,
    limitBytes: limitBytes!,
  };
}

/** Starts a new peak at the present live bytes. */
export const resetPeakMemory = (device?: DeviceName): void =>
  native.resetPeakMemory(deviceCode("resetPeakMemory", device));
/** Returns cached blocks to the system. */
export const emptyCache = (device?: DeviceName): void => native.emptyCache(deviceCode("emptyCache", device));
/** Bytes that live tensors may hold together. */
export const setMemoryLimit = (bytes: number, device?: DeviceName): void =>
  native.setMemoryLimit(bytes, deviceCode("setMemoryLimit", device));
/** Threads that one op may use, 1 to 256. Default: the machine's. Results are reproducible for a fixed number. */
export const setNumThreads = (threads: number): void => native.setNumThreads(threads);
export const getNumThreads = (): number => native.getNumThreads();
/** The instruction set that the kernels were chosen for: "baseline", "avx2" or "avx512" (`MD_ISA` overrides). */
export const isa = (): string => native.isa();

/** The instruction sets that kernels are there for and the processor has, by rising preference. */
export const isas = (): string[] => native.isas();
/** What this build and machine have of CUDA: devices, versions, and why there is none. */
export const cudaInfo = (): CudaInfo => native.cuda();
/**
 * Waits until `device` has done all that it was given; throws what went wrong there. The CPU, too, may still compute what an
 * op returned: call this before you read a clock. Whatever reads elements (`data()`, `item()`) waits by itself.
 */
export const synchronize = (device: DeviceName): void => native.synchronize(deviceCode("synchronize", device));
