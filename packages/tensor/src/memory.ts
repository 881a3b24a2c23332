import { native } from "@md/native";

/** Native memory of this Node environment. */
export interface MemoryInfo {
  liveTensors: number;
  /** Bytes in blocks that live tensors hold. */
  liveBytes: number;
  /** The highest `liveBytes` since the start or the last {@link resetPeakMemory}. */
  peakBytes: number;
  /** Bytes kept for reuse. */
  cachedBytes: number;
  /** An allocation that would take `liveBytes` beyond it throws OutOfMemoryError. Default: physical memory. */
  limitBytes: number;
}

export function memory(): MemoryInfo {
  const [liveTensors, liveBytes, peakBytes, cachedBytes, limitBytes] = native.memory();
  return {
    liveTensors: liveTensors!,
    liveBytes: liveBytes!,
    peakBytes: peakBytes!,
    cachedBytes: cachedBytes!,
    limitBytes: limitBytes!,
  };
}

/** Starts a new peak at the present live bytes. */
export const resetPeakMemory = (): void => native.resetPeakMemory();
/** Returns cached blocks to the system. */
export const emptyCache = (): void => native.emptyCache();
/** Bytes that live tensors may hold together. */
export const setMemoryLimit = (bytes: number): void => native.setMemoryLimit(bytes);
/** Threads that one op may use, 1 to 256. Default: the machine's. Results are reproducible for a fixed number. */
export const setNumThreads = (threads: number): void => native.setNumThreads(threads);
export const getNumThreads = (): number => native.getNumThreads();
/** The instruction set that the kernels were chosen for: "baseline", "avx2" or "avx512" (`MD_ISA` overrides). */
export const isa = (): string => native.isa();
