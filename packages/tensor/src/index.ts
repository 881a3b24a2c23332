import "./methods.js";

export * from "@md/native/errors";
export { anomalyEnabled, detectAnomaly } from "./anomaly.js";
export { autocast } from "./autocast.js";
export { backward, checkpoint, defineOp, noGrad } from "./autograd.js";
export { CudaGraph } from "./cuda-graph.js";
export type { Device, DeviceName } from "./device.js";
export { type DType, dtypes, type HalfDType, type HostArray, type HostArrays } from "./dtype.js";
export * from "./memory.js";
export { type HeadNorm, maskedAttention, type MaskedAttentionOptions } from "./ops/attention.js";
export * as masks from "./ops/attention-mask.js";
export type { AttentionMask } from "./ops/attention-mask.js";
export * from "./ops/create.js";
export { dropout } from "./ops/dropout.js";
export { einsum } from "./ops/einsum.js";
export * from "./ops/elementwise.js";
export {
  avgPool2d,
  conv2d,
  type Conv2dOptions,
  interpolate,
  maxPool2d,
  type Pair,
  type Pool2dOptions,
} from "./ops/image.js";
export {
  cat,
  embedding,
  gather,
  indexAdd,
  indexSelect,
  oneHot,
  permuteRows,
  scatterAdd,
  stack,
} from "./ops/indexing.js";
export {
  binaryCrossEntropyWithLogits,
  crossEntropy,
  l1Loss,
  type LossOptions,
  type LossReduction,
  mseLoss,
  smoothL1Loss,
} from "./ops/losses.js";
export { type Activation, linear, type LinearCallOptions, matmul } from "./ops/matmul.js";
export {
  type AffineOptions,
  batchNorm,
  type BatchNormResult,
  groupNorm,
  layerNorm,
  type ModulationOptions,
  normalize,
} from "./ops/norms.js";
export * from "./ops/optimizer.js";
export * from "./ops/reduce.js";
export { applyRotary, rotaryEmbedding3d, type RotaryOptions, rotaryTable } from "./ops/rotary.js";
export { segmentMax, segmentMean, type SegmentOptions, segmentSum } from "./ops/segment.js";
export { type Curve, curves, type Serialization, serialize } from "./ops/serialize.js";
export { logSoftmax, softmax } from "./ops/softmax.js";
export { argsort, cumsum, sort, type Sorted, type SortOptions, topk } from "./ops/sort.js";
export { type NeighbourKernelSize, type NeighbourMap, type PairMap, submConv3d } from "./ops/sparse-conv.js";
export * from "./ops/views.js";
export * from "./ops/voxel.js";
export { Profile, profile, type ProfileRow } from "./profile.js";
export * from "./random.js";
export { scope, withOwnerOf } from "./scope.js";
export { Tensor } from "./tensor.js";
export * from "./testing/gradcheck.js";
export * from "./testing/op-case.js";
