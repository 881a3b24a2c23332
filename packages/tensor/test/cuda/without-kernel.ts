import type { Primitive } from "../../src/primitives.js";

/** Primitives that have no CUDA kernel yet: each throws a DeviceError there. */
export const withoutKernel: ReadonlySet<string> = new Set<Primitive>([]);
