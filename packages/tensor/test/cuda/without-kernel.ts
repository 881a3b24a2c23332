import type { Primitive } from "../../src/primitives.js";

/** Primitives that have no CUDA kernel yet: each throws a DeviceError there. An op that gets one leaves this list. */
export const withoutKernel: ReadonlySet<string> = new Set<Primitive>([
]);
