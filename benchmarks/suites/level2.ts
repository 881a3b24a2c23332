import { MiniDiffuserLight, type Policy } from "@md/diffusion";
import { backward, Generator, memory, resetPeakMemory, scope, type Tensor } from "@md/tensor";
import { randomBatch } from "../scenes.js";
import type { BenchCase, Metric, Suite } from "../suite.js";
import type { TargetId } from "../targets.js";

type Batch = ReturnType<typeof randomBatch>;
type PolicyOf = (samples: number) => Policy;

const light: PolicyOf = (samples) => new MiniDiffuserLight({ samples }, { generator: new Generator(1) });

/** A training step without the optimiser. */
function stepper(policy: Policy, batch: Batch): () => readonly Tensor[] {
  const generator = new Generator(2);
  return () => {
    const { loss } = policy.loss(batch, generator);
    backward(loss);
    policy.zeroGrad();
    return [loss.detach()];
  };
}

function peakBytes(policy: Policy, batch: Batch): number {
  const before = memory().liveBytes;
  const step = stepper(policy, batch);
  scope(() => void step());
  resetPeakMemory();
  scope(() => void step());
  const peak = memory().peakBytes;
  policy.dispose();
  return peak - before;
}

/** A training step, without the optimiser, with 64 noised actions a scene beside one with a single one. */
export function costOfSamples(name: string, create: PolicyOf, batch: Batch, countsFor: readonly TargetId[]): BenchCase {
  return {
    name: `64 samples beside one, ${name}${batch.size} scenes of ${batch.pointsPerScene} points`,
    bind: () => stepper(create(64), batch),
    baseline: { name: "M = 1", bind: () => stepper(create(1), batch), sameResult: false },
    threads: "most",
    patient: true,
    metrics: (): Metric[] => {
      const [many, one] = [64, 1].map((samples) => peakBytes(create(samples), batch));
      return [{ name: "peak bytes beside M = 1", value: many / one, unit: "x" }];
    },
    countsFor,
  };
}

/** Cost of M = 64 noised actions a scene against M = 1 (Table 3 of the paper) in the light policy. */
export const level2Suite: Suite = {
  name: "level2",
  cases: [
    costOfSamples("", light, randomBatch(2, 4000), ["level2-time-4000", "level2-bytes-4000"]),
    costOfSamples("", light, randomBatch(8, 1024), ["level2-time-1024", "level2-bytes-1024"]),
  ],
};
