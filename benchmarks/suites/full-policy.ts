import type { MiniDiffuser, MiniDiffuserConfig, PolicyBatch } from "@md/diffusion";
import { autocast, Generator, scope } from "@md/tensor";
import { fullPolicy, peakBytesOfSteps, type Place, policySteps, stepsOf } from "../policy-step.js";
import { surfaceBatch } from "../scenes.js";
import type { BenchCase, Metric, Suite } from "../suite.js";

/** How large the steps are; `config` is laid over the policy's own. */
export interface FullPolicySizes {
  scenes: number;
  points: number;
  samples: number;
  /** Scenes that are sampled together, beside a single one. */
  sampledScenes: number;
  solverSteps: number;
  config?: Partial<MiniDiffuserConfig>;
}

/** As the paper trains it. */
export const paperSizes: FullPolicySizes = {
  scenes: 100,
  points: 4000,
  samples: 64,
  sampledScenes: 32,
  solverSteps: 10,
};

function trainingStep(sizes: FullPolicySizes, place: Place): BenchCase {
  const { scenes, points, samples, config } = sizes;
  const create = (count: number) => (): MiniDiffuser => fullPolicy({ compat: "fixed", ...config, samples: count });
  let made: PolicyBatch | undefined;
  const batch = (): PolicyBatch => (made ??= batchOf(scenes, sizes));
  return {
    name: `training step, ${scenes} scenes of ${points} points, ${samples} samples, with AdamW`,
    bind: stepsOf(() => policySteps(create(samples)(), batch(), place)),
    baseline: {
      name: "M = 1",
      bind: stepsOf(() => policySteps(create(1)(), batch(), place)),
      sameResult: false,
    },
    peer: { op: "miniDiffuserStep", params: { scenes, points, samples } },
    threads: "one",
    metrics: (): Metric[] => {
      const [many, one] = [samples, 1].map((count) => peakBytesOfSteps(create(count), batch(), place));
      return [
        { name: "peak memory", value: many / 1e9, unit: "GB" },
        { name: "peak bytes beside M = 1", value: many / one, unit: "x" },
      ];
    },
    countsFor:
      place.dtype === "bf16"
        ? ["cuda-step", "cuda-step-compiled", "cuda-samples-time", "cuda-samples-bytes", "cuda-memory"]
        : [],
  };
}

/** DDIM steps, the scene's encoding included, on a policy that has not learned anything: for the time alone. */
function sampling(scenes: number, sizes: FullPolicySizes, { device = "cpu", dtype = "f32" }: Place): BenchCase {
  const sample = (): (() => void) => {
    const policy = fullPolicy({ compat: "fixed", ...sizes.config })
      .to(device)
      .eval();
    const batch = batchOf(scenes, sizes);
    return () => {
      const options = { solver: "ddim", steps: sizes.solverSteps, generator: new Generator(3) } as const;
      scope(() => void autocast(dtype, () => policy.sample(batch, options)));
    };
  };
  let run: (() => void) | undefined;
  const once = (): void => (run ??= sample())();
  return {
    name: `sampling, ${scenes} ${scenes === 1 ? "scene" : "scenes"} of ${sizes.points} points, ${sizes.solverSteps} DDIM steps`,
    bind: () => () => (once(), []),
    threads: "one",
    countsFor: scenes === 1 && dtype === "bf16" ? ["cuda-sampling"] : [],
  };
}

function batchOf(scenes: number, { points, config }: FullPolicySizes): PolicyBatch {
  const batch = surfaceBatch(scenes, points);
  const { instructionTokens, instruction } = batch;
  const instructionDim = config?.instructionDim ?? batch.instructionDim;
  return { ...batch, instructionDim, instruction: instruction.slice(0, scenes * instructionTokens * instructionDim) };
}

/** The full policy as it is trained and sampled on a GPU. */
export const fullPolicySuite = (place: Place, sizes: FullPolicySizes = paperSizes): Suite => ({
  name: "full-policy",
  cases: [trainingStep(sizes, place), sampling(1, sizes, place), sampling(sizes.sampledScenes, sizes, place)],
});
