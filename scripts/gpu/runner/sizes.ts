import { cudaInfo, type OpCase } from "@md/tensor";
import { opCases } from "../../../packages/tensor/test/op-cases/index.js";
import type { Pace } from "../../../benchmarks/measure/alternate.js";
import type { CeilingSizes } from "../../../benchmarks/measure/device-ceilings.js";
import type { BenchCase } from "../../../benchmarks/suite.js";
import { type FullPolicySizes, paperSizes } from "../../../benchmarks/suites/full-policy.js";
import { tinyPolicy } from "../../../benchmarks/test/tiny-policy.js";
import { raceCases } from "./op-cases.js";

/** How much of everything a step does. */
export interface Sizes {
  opCases: readonly OpCase[];
  policy: FullPolicySizes;
  ceilings?: CeilingSizes;
  /** Which kernels are timed. */
  timed(bench: BenchCase): boolean;
  trainingSteps: number;
  pace: Pace;
}

// Of the suites, what a training step spends its time on.
const wanted =
  /(4000×288×72|4000×36×108|6400×72×288)$|^Level-2, forward|^(layerNorm|softmax|gelu)\b.*(4000×288|4\.6 MB|128 MiB)|^AdamW|^submConv3d, 16000 voxels, \d+ channels, forward/;

const whole: Sizes = {
  opCases,
  policy: paperSizes,
  timed: ({ name }) => wanted.test(name),
  trainingSteps: 200,
  pace: { sampleMs: 20, leastRounds: 5, mostRounds: 15, budgetMs: 1000 },
};

/** So little that an emulated device comes to an end: every step's way, and no number worth anything. */
const emulated: Sizes = {
  opCases: raceCases(opCases).slice(0, 3),
  policy: tinyPolicy,
  ceilings: { edge: 16, copyElements: 100 },
  timed: () => false,
  trainingSteps: 1,
  pace: { sampleMs: 0, leastRounds: 1, mostRounds: 1, budgetMs: 0 },
};

export const sizesOf = (isEmulated: boolean): Sizes => (isEmulated ? emulated : whole);
/** The emulated device has 256 MiB, and no real one has so little. */
export const sizesHere = (): Sizes => sizesOf((cudaInfo().devices[0]?.totalBytes ?? Infinity) < 2 ** 30);
