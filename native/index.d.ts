export * from "./errors.js";

/**
 * The addon's face. Tensors are integer slots, shapes are Int32Arrays, dtypes are codes
 * (0 f32, 1 f64, 2 i32, 3 i64, 4 u8, 5 bool, 6 f16, 7 bf16). A function without a return value leaves its outputs in
 * {@link Native.outputs}: 12 integers each (slot, dtype, device, rank, extents).
 * Use `@md/tensor` for tensors with shapes, gradients and scopes.
 */
/** Mask and options of attention; absent tensors are slot -1. */
export type AttentionArguments = [
  kind: number,
  samples: number,
  tokensPerSample: number,
  conditionTokens: number,
  queryIntegers: Int32Array,
  cuSeqlensK: Int32Array,
  dense: number,
  scale: number,
  qWeight: number,
  qBias: number,
  qRotary: number,
  kWeight: number,
  kBias: number,
  kRotary: number,
  eps: number,
  rotateFirst: boolean,
  p: number,
  seed: number,
  offset: number,
];

/** What this build and machine have of CUDA. */
export interface CudaInfo {
  /** Whether CUDA kernels are in this binary. */
  compiled: boolean;
  /** Whether they run on the CPU, under checks: a build for tests. */
  emulated: boolean;
  /** Versions as 1000 · major + 10 · minor; 0 where there is none. */
  driver: number;
  runtime: number;
  /** What the kernels were compiled for, as "sm_80 compute_80". */
  architectures: string;
  /** The cuBLAS library that was found at run time, or why there is none; empty without kernels. */
  cublas: string;
  /** Whether CUB's sorts and scans were compiled in; else kernels of our own do it. */
  cub: boolean;
  /** Why there is no device; empty where there is one. */
  reason: string;
  /** In the order of their index; compute capability major.minor. `matrixUnits`: whether kernels for tensor cores run there. */
  devices: { name: string; major: number; minor: number; totalBytes: number; matrixUnits: boolean }[];
}

export interface Native {
  readonly outputs: Int32Array;

  isa(): string;
  /** Those that the processor has, by rising preference. */
  isas(): string[];
  cuda(): CudaInfo;
  /** Waits for all that the device was given. */
  synchronize(device: number): void;
  /** What the CUDA device is given from here on is captured instead of done. Random draws are those of these seeds. */
  beginGraph(device: number, seeds: Float64Array): void;
  /** The number of what was captured. */
  endGraph(device: number): number;
  /** Drops what was captured. */
  abortGraph(device: number): void;
  /** `moved`: how many blocks the stream of each seed has moved on since the capture. */
  replayGraph(graph: number, moved: Float64Array): void;
  freeGraph(graph: number): void;
  getNumThreads(): number;
  setNumThreads(threads: number): void;

  /** `device`, here and below: type in the low byte (0 CPU, 1 CUDA), index above; the CPU where it is absent. */
  fromBytes(dtype: number, shape: Int32Array, bytes: Uint8Array, device?: number): void;
  toBytes(x: number, bytes: Uint8Array): void;
  empty(dtype: number, shape: Int32Array, device?: number): void;
  full(dtype: number, shape: Int32Array, value: number, device?: number): void;
  free(x: number): void;
  freeSlots(slots: Int32Array): void;
  /** [live tensors, live bytes, peak bytes, cached bytes, limit] */
  memory(device?: number): Float64Array;
  resetPeakMemory(device?: number): void;
  emptyCache(device?: number): void;
  setMemoryLimit(bytes: number, device?: number): void;
  adjustExternalMemory(bytes: number): void;

  reshape(x: number, shape: Int32Array): void;
  permute(x: number, axes: Int32Array): void;
  expand(x: number, shape: Int32Array): void;
  slice(x: number, start: Int32Array, extent: Int32Array, step: Int32Array): void;
  /** Zeros of `shape` with `grad` where the slice looks. */
  sliceGrad(grad: number, shape: Int32Array, start: Int32Array, step: Int32Array): void;
  /** Views of the given extents along an axis; at most 8. */
  split(x: number, sizes: Int32Array, axis: number): void;
  contiguous(x: number): void;
  /** The source may be on another device. */
  assign(target: number, source: number): void;
  /** A row-major copy. */
  toDevice(x: number, device: number): void;
  isContiguous(x: number): boolean;
  hasNaN(x: number): boolean;

  unary(kind: number, x: number, a: number, b: number): void;
  unaryGrad(kind: number, x: number, grad: number, a: number, b: number): void;
  binary(kind: number, a: number, b: number): void;
  where(condition: number, a: number, b: number): void;
  cast(x: number, dtype: number): void;

  reduce(kind: number, x: number, axes: Int32Array, keepdim: boolean): void;
  /** Index of the extreme element along `axis`. */
  argExtreme(kind: number, x: number, axis: number, keepdim: boolean): void;

  softmax(x: number, axis: number, log: boolean): void;
  softmaxGrad(y: number, grad: number, axis: number, log: boolean): void;
  /** Outputs: loss, logSumExp. */
  crossEntropy(logits: number, target: number, smoothing: number, mode: number): void;
  crossEntropyGrad(
    logits: number,
    target: number,
    logSumExp: number,
    grad: number,
    smoothing: number,
    mode: number,
  ): void;

  /** Outputs: y and, with `save`, mean and rstd. -1 stands for an absent weight or bias, here and below. */
  layerNorm(
    x: number,
    weight: number,
    bias: number,
    scale: number,
    shift: number,
    axes: number,
    eps: number,
    save: boolean,
  ): void;
  /**
   * Outputs: dx, plus `earlier` unless that is -1; where `affine`, dWeight, dBias; with a scale dScale, and dShift unless every
   * row has its own.
   */
  layerNormGrad(
    x: number,
    weight: number,
    bias: number,
    scale: number,
    mean: number,
    rstd: number,
    grad: number,
    earlier: number,
    axes: number,
    affine: boolean,
  ): void;
  /** Outputs: y, mean, rstd. */
  groupNorm(x: number, weight: number, bias: number, groups: number, eps: number): void;
  /** Outputs: dx and, where `affine`, dWeight, dBias. */
  groupNormGrad(
    x: number,
    weight: number,
    mean: number,
    rstd: number,
    grad: number,
    groups: number,
    affine: boolean,
  ): void;
  /** Outputs: y, mean, variance. */
  batchNorm(x: number, weight: number, bias: number, mean: number, variance: number, eps: number): void;
  /** Outputs: dx, dWeight, dBias. */
  batchNormGrad(
    x: number,
    weight: number,
    mean: number,
    variance: number,
    grad: number,
    eps: number,
    fromBatch: boolean,
  ): void;

  rand(
    dtype: number,
    shape: Int32Array,
    low: number,
    high: number,
    seed: number,
    offset: number,
    device?: number,
  ): void;
  randn(
    dtype: number,
    shape: Int32Array,
    mean: number,
    std: number,
    seed: number,
    offset: number,
    device?: number,
  ): void;
  randint(shape: Int32Array, low: number, high: number, seed: number, offset: number, device?: number): void;
  bernoulli(shape: Int32Array, probability: number, seed: number, offset: number, device?: number): void;
  dropout(x: number, p: number, seed: number, offset: number): void;
  childSeed(seed: number, index: number): number;

  /** In place, on lists of slots. */
  adamwStep(
    parameters: Int32Array,
    grads: Int32Array,
    expAvgs: Int32Array,
    expAvgSqs: Int32Array,
    beta1: number,
    beta2: number,
    eps: number,
    weightDecay: number,
    /** [learning rate, step, gradient scale], or the slots of tensors that hold them. */
    numbers: Float64Array | Int32Array,
  ): void;
  emaUpdate(averages: Int32Array, tensors: Int32Array, decay: number): void;
  globalNorm(tensors: Int32Array): void;

  /** `options`: stride, padding, dilation (y and x each), groups. */
  conv2d(x: number, weight: number, bias: number, options: Int32Array): void;
  conv2dInputGrad(grad: number, weight: number, inputShape: Int32Array, options: Int32Array): void;
  conv2dWeightGrad(grad: number, x: number, weightShape: Int32Array, options: Int32Array): void;
  /** `options`: kernel, stride, padding (y and x each). Outputs: y, indices. */
  maxPool2d(x: number, options: Int32Array): void;
  maxPool2dGrad(grad: number, indices: number, inputShape: Int32Array): void;
  avgPool2d(x: number, options: Int32Array): void;
  avgPool2dGrad(grad: number, inputShape: Int32Array, options: Int32Array): void;
  interpolate(x: number, height: number, width: number, alignCorners: boolean): void;
  interpolateGrad(grad: number, height: number, width: number, alignCorners: boolean): void;

  matmul(a: number, b: number): void;
  /** Outputs: y and, with `save` and an activation, what linearGrad needs. `bias` and `residual` are -1 for none. */
  linear(x: number, weight: number, bias: number, residual: number, activation: number, save: boolean): void;
  /** Outputs: the wanted gradients, in the order x, weight, bias; that of x plus `earlier`. `saved` and `earlier` are -1 for none. */
  linearGrad(
    x: number,
    weight: number,
    saved: number,
    grad: number,
    earlier: number,
    activation: number,
    wantsX: boolean,
    wantsWeight: boolean,
    wantsBias: boolean,
  ): void;

  /** Outputs: out and, with `save`, logSumExp. Mask: see `maskAt` in binding/attention.cpp; `dense` is -1 for none. */
  maskedAttention(
    q: number,
    k: number,
    v: number,
    ownK: number,
    ownV: number,
    save: boolean,
    ...options: AttentionArguments
  ): void;
  maskedAttentionGrad(
    q: number,
    k: number,
    v: number,
    ownK: number,
    ownV: number,
    out: number,
    logSumExp: number,
    grad: number,
    ...options: AttentionArguments
  ): void;
  rotaryTable(xyz: number, headDim: number, scale: number, base: number): void;
  applyRotary(x: number, table: number, inverse: boolean): void;

  /** Outputs: keys, coordinates, voxelOfPoint, pointOrder, voxelOffsets, table. */
  voxelHash(
    points: number,
    pointBatch: number,
    voxelSize: number,
    originX: number,
    originY: number,
    originZ: number,
  ): void;
  voxelLookup(
    queries: number,
    queryBatch: number,
    table: number,
    voxelSize: number,
    originX: number,
    originY: number,
    originZ: number,
  ): void;
  voxelNeighbours(
    queries: number,
    queryBatch: number,
    table: number,
    voxelSize: number,
    originX: number,
    originY: number,
    originZ: number,
  ): void;
  neighboursOfVoxels(keys: number, table: number, kernelSize: number): void;
  /** Outputs: inputs, outputs, starts: what the convolutions below take as their map. */
  mapPairs(neighbours: number, inputs: number, roomy: boolean): void;
  /** Outputs: hitVoxels, hitQueries, hitStarts. */
  localKernelMap(
    queries: number,
    queryBatch: number,
    table: number,
    voxels: number,
    voxelSize: number,
    originX: number,
    originY: number,
    originZ: number,
  ): void;
  localKernelQuery(
    hitVoxels: number,
    hitQueries: number,
    hitStarts: number,
    queries: number,
    means: number,
    weight: number,
  ): void;
  /** Outputs: the wanted gradients. */
  localKernelQueryGrad(
    hitVoxels: number,
    hitQueries: number,
    hitStarts: number,
    means: number,
    weight: number,
    grad: number,
    wantsMeans: boolean,
    wantsWeight: boolean,
  ): void;
  submConv3d(inputs: number, outputs: number, starts: number, x: number, weight: number, bias: number): void;
  /** Outputs: the wanted gradients. */
  submConv3dGrad(
    inputs: number,
    outputs: number,
    starts: number,
    x: number,
    weight: number,
    grad: number,
    wantsX: boolean,
    wantsWeight: boolean,
  ): void;

  cat(slots: Int32Array, axis: number): void;
  indexSelect(x: number, index: number, axis: number): void;
  indexAdd(x: number, index: number, source: number, axis: number): void;
  indexSelectGrad(grad: number, index: number, extent: number, axis: number): void;
  gather(x: number, index: number, axis: number): void;
  scatterAdd(x: number, index: number, source: number, axis: number): void;
  gatherGrad(grad: number, index: number, shape: Int32Array, axis: number): void;
  oneHot(index: number, classes: number, dtype: number): void;

  /** `order` is -1 for none, here and below. */
  segmentReduce(mean: boolean, x: number, offsets: number, order: number): void;
  /** `chosen` is the rows of segmentMax, or -1. */
  segmentReduceGrad(mean: boolean, grad: number, chosen: number, offsets: number, order: number, rows: number): void;
  /** Outputs: values, rows. */
  segmentMax(x: number, offsets: number, order: number): void;

  /** Outputs: code, order, inverse. */
  serialize(coordinates: number, batch: number, curve: number, depth: number): void;
  /** Outputs: values, indices. */
  sort(x: number, axis: number, descending: boolean): void;
  /** Outputs: values, indices. */
  topk(x: number, k: number, axis: number, largest: boolean): void;
  cumsum(x: number, axis: number, reverse: boolean): void;
}

export declare const native: Native;
