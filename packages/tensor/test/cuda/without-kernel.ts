import type { Primitive } from "../../src/primitives.js";

/** Primitives that have no CUDA kernel yet: each throws a DeviceError there. An op that gets one leaves this list. */
export const withoutKernel: ReadonlySet<string> = new Set<Primitive>([
  "avgPool2d",
  "avgPool2dGrad",
  "batchNorm",
  "batchNormGrad",
  "conv2d",
  "conv2dInputGrad",
  "conv2dWeightGrad",
  "groupNorm",
  "groupNormGrad",
  "interpolate",
  "interpolateGrad",
  "maskedAttention",
  "maskedAttentionGrad",
  "maxPool2d",
  "maxPool2dGrad",
]);
