import {
  atMost,
  baselineSpeedup,
  extraMemory,
  geometricSpeedup,
  growsLike,
  isAffine,
  memoryGrowsLinearly,
  memoryIsAffine,
  metricBelow,
  scaling,
  scalesAs,
  timeAtMost,
  shareOfCopy,
  shareOfProducts,
  type Judge,
  reproducible,
  worstSpeedup,
} from "./judge.js";

/** What the kernels have to reach. Cases say by id which of these they count for. */
const table = {
  gemm: {
    sentence: "matrix products: ≥ 0.90 of the better of OpenBLAS and oneDNN (geometric mean)",
    judge: geometricSpeedup(["openblas", "onednn"], 0.9),
  },
  "level2-train": {
    sentence: "Level-2 attention, forward and backward: ≥ 2.0x PyTorch with a dense mask",
    judge: worstSpeedup(["torch"], 2),
  },
  "level2-infer": {
    sentence: "Level-2 attention, forward: ≥ 1.2x onnxruntime",
    judge: worstSpeedup(["onnxruntime"], 1.2),
  },
  "level2-memory": {
    sentence: "Level-2 attention: extra memory ≤ q, k, v and out together",
    // Inputs and outputs are those four and their gradients.
    judge: extraMemory(4 / 8),
  },
  "patch-attention": {
    sentence: "patch attention, forward and backward: ≥ 2.5x PyTorch (worst shape)",
    judge: worstSpeedup(["torch"], 2.5),
  },
  "voxel-hash": {
    sentence: "voxel hash of 100,000 points and its neighbour map: ≥ 8x PyTorch by sorting",
    judge: worstSpeedup(["torch"], 8),
  },
  "subm-conv-36": {
    sentence: "submConv3d, 36 channels, forward and backward: ≥ 5x PyTorch's gather-GEMM-scatter (worst size)",
    judge: worstSpeedup(["torch"], 5),
  },
  "subm-conv-72": {
    sentence: "submConv3d, 72 channels, forward and backward: ≥ 3x PyTorch's gather-GEMM-scatter (worst size)",
    judge: worstSpeedup(["torch"], 3),
  },
  "local-query": {
    sentence: "local query of 256 points: ≥ 10x convolving everywhere and looking up",
    judge: baselineSpeedup("convolved everywhere", 10),
  },
  "memory-bound": {
    sentence: "memory-bound kernels: ≥ 70% of the bandwidth of a copy in turn with them (worst kernel)",
    judge: shareOfCopy(0.7),
  },
  adamw: { sentence: "AdamW on 17.6 million parameters: ≥ 1.8x PyTorch", judge: worstSpeedup(["torch"], 1.8) },
  scaling: { sentence: "compute-bound kernels with 2 threads: ≥ 1.7x (geometric mean)", judge: scaling(1.7) },
  "gemm-scaling": {
    sentence: "matrix products scale as oneDNN's, within 0.05 (worst shape)",
    judge: scalesAs("onednn", 0.05),
  },
  reproducible: { sentence: "results are the same to the bit, run after run", judge: reproducible, everyCase: true },
  "growth-hash": { sentence: "voxel hash grows linearly: power 1.0 ± 0.1", judge: growsLike(1, 0.1) },
  "growth-neighbours": { sentence: "neighbour maps grow linearly: power 1.0 ± 0.1", judge: growsLike(1, 0.1) },
  "growth-conv": { sentence: "sparse convolution grows linearly: power 1.0 ± 0.1", judge: growsLike(1, 0.1) },
  "growth-query": { sentence: "local query grows linearly: power 1.0 ± 0.1", judge: growsLike(1, 0.1) },
  "growth-patch": { sentence: "patch attention grows linearly: power 1.0 ± 0.1", judge: growsLike(1, 0.1) },
  "growth-scene": {
    sentence: "masked global attention grows with the square of scene tokens: power 2.0 ± 0.1",
    judge: growsLike(2, 0.1),
  },
  "growth-samples": {
    sentence: "masked global attention is affine in the samples: within 10% of a straight line",
    judge: isAffine(0.1),
  },
  "growth-memory": {
    sentence: "memory grows no faster than linearly: power ≤ 1.05 (worst curve)",
    judge: memoryGrowsLinearly(1.05),
  },
  "level2-time-4000": {
    sentence: "64 samples cost ≤ 1.063 of one in time, 2 scenes of 4000 points",
    judge: atMost("M = 1", 1.063),
  },
  "level2-time-1024": {
    sentence: "64 samples cost ≤ 1.15 of one in time, 8 scenes of 1024 points",
    judge: atMost("M = 1", 1.15),
  },
  "level2-bytes-4000": {
    sentence: "64 samples cost ≤ 1.022 of one in memory, 2 scenes of 4000 points",
    judge: metricBelow("peak bytes beside M = 1", 1.022),
  },
  "level2-bytes-1024": {
    sentence: "64 samples cost ≤ 1.09 of one in memory, 8 scenes of 1024 points",
    judge: metricBelow("peak bytes beside M = 1", 1.09),
  },
  sampling: {
    sentence: "sampling with the scene encoded once: ≥ 5x, the same numbers",
    judge: baselineSpeedup("scene encoded at every step", 5),
  },
  "full-step": {
    sentence: "full Mini-Diffuser, a training step: ≥ 3x PyTorch",
    judge: worstSpeedup(["torch"], 3),
  },
  "full-step-share": {
    sentence: "full Mini-Diffuser, a training step: ≥ 50% of the GEMM ceiling, large products of the fastest library",
    judge: shareOfProducts("large products", 0.5),
  },
  "full-step-resident": {
    sentence: "full Mini-Diffuser, a training step: ≤ 60% of PyTorch's resident memory at its peak",
    judge: metricBelow("resident memory beside PyTorch's", 0.6),
  },
  "full-memory": {
    sentence: "full Mini-Diffuser: memory is affine in scenes and in samples, within 2% of straight lines",
    judge: memoryIsAffine(0.02),
  },
  "full-level2-time": {
    sentence: "full Mini-Diffuser: 64 samples cost ≤ 1.063 of one in time, 2 scenes of 4000 points",
    judge: atMost("M = 1", 1.063),
  },
  "full-level2-bytes": {
    sentence: "full Mini-Diffuser: 64 samples cost ≤ 1.022 of one in memory, 2 scenes of 4000 points",
    judge: metricBelow("peak bytes beside M = 1", 1.022),
  },
  "full-sampling-100": {
    sentence: "full Mini-Diffuser: 100 DDPM steps cost ≤ 3 of the scene's encoding, encoding included",
    judge: atMost("scene encoded alone", 3),
  },
  "full-sampling-10": {
    sentence: "full Mini-Diffuser: 10 steps cost ≤ 1.3 of the scene's encoding, encoding included",
    judge: atMost("scene encoded alone", 1.3),
  },
  "png-frame": {
    sentence: "a pair of colour and depth PNGs, 128×128: ≥ 2x PIL and numpy",
    judge: worstSpeedup(["pillow"], 2),
  },
  batches: {
    sentence: "batches of 100 scenes × 4000 points from prepared clouds: ≥ 150 scenes a second, so ≤ 6.67 ms a scene",
    judge: metricBelow("time a scene", 1000 / 150),
  },
  overhead: { sentence: "a small add takes < 2 µs", judge: metricBelow("an add by Benchmark.js", 2) },
} satisfies Record<string, Target>;

export interface Target {
  sentence: string;
  judge: Judge;
  /** Whether every case counts, without saying so. */
  everyCase?: boolean;
}
export const targets: Readonly<Record<keyof typeof table, Target>> = table;

/** What a GPU of the class of an H100 has to reach, with bf16 where nothing else is said. */
const deviceTable = {
  "cuda-step": {
    sentence: "full training step, 100 scenes of 4000 points, 64 samples, bf16: ≥ 1.0x eager PyTorch",
    judge: worstSpeedup(["torch"], 1),
  },
  "cuda-step-compiled": {
    sentence: "the same step: ≥ 0.9x torch.compile",
    judge: worstSpeedup(["torch.compile"], 0.9),
  },
  "cuda-samples-time": { sentence: "the same step: ≤ 1.063 of M = 1 in time", judge: atMost("M = 1", 1.063) },
  "cuda-samples-bytes": {
    sentence: "the same step: ≤ 1.022 of M = 1 in memory",
    judge: metricBelow("peak bytes beside M = 1", 1.022),
  },
  "cuda-memory": { sentence: "the same step: ≤ 16 GB at its peak", judge: metricBelow("peak memory", 16) },
  "cuda-sampling": { sentence: "10 steps of sampling, one scene: ≤ 10 ms", judge: timeAtMost(10) },
  "cuda-level2": {
    sentence: "Level-2 attention, in either dtype: ≥ 1.5x PyTorch's best with a mask",
    judge: worstSpeedup(["torch"], 1.5),
  },
} satisfies Record<string, Target>;

export type TargetId = keyof typeof table | keyof typeof deviceTable;
export const deviceTargets: Readonly<Record<keyof typeof deviceTable, Target>> = deviceTable;
