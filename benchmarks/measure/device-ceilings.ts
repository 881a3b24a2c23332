import { assign, type DeviceName, matmul, ones, scope, synchronize, zeros } from "@md/tensor";
import type { BenchDType } from "../options.js";
import type { Ceiling } from "./machine.js";

/** What is measured: square matrices, and a copy far larger than any cache. */
export interface CeilingSizes {
  edge: number;
  copyElements: number;
}
const whole: CeilingSizes = { edge: 8192, copyElements: 2 ** 28 };
const tries = 8;

/**
 * The most that a device does: a product of large matrices, by cuBLAS where it is there, and a copy. Both are the best of
 * some runs, a wait for the device around each.
 */
export function measureDeviceCeilings(device: DeviceName, dtype: BenchDType, sizes: CeilingSizes = whole): Ceiling {
  const { edge, copyElements } = sizes;
  return scope(() => {
    const [a, b] = [ones([edge, edge], { dtype, device }), ones([edge, edge], { dtype, device })];
    const product = bestMs(device, () => scope(() => void matmul(a, b)));
    const [from, to] = [zeros([copyElements], { device }), zeros([copyElements], { device })];
    const copy = bestMs(device, () => void assign(to, from));
    return { gflops: (2 * edge ** 3) / product / 1e6, gbs: (8 * copyElements) / copy / 1e6 };
  });
}

function bestMs(device: DeviceName, run: () => void): number {
  const times = Array.from({ length: tries }, () => {
    synchronize(device);
    const start = performance.now();
    run();
    synchronize(device);
    return performance.now() - start;
  });
  // The first ones warm up.
  return Math.min(...times.slice(2));
}
