import { MiniDiffuserLight } from "@md/diffusion";
import { backward, Generator, memory, resetPeakMemory, scope, type Tensor } from "@md/tensor";
import { randomBatch } from "../scenes.js";
import type { BenchCase, Metric, Suite } from "../suite.js";
import type { TargetId } from "../targets.js";

/** A training step without the optimiser. */
function stepper(samples: number, batch: ReturnType<typeof randomBatch>): () => readonly Tensor[] {
  const policy = new MiniDiffuserLight({ samples }, { generator: new Generator(1) });
  const generator = new Generator(2);
  return () => {
    const { loss } = policy.loss(batch, generator);
    backward(loss);
    policy.zeroGrad();
    return [loss.detach()];
  };
}

function peakBytes(run: () => unknown): number {
  resetPeakMemory();
  scope(() => void run());
  return memory().peakBytes;
}

function costOfSamples(size: number, points: number, countsFor: readonly TargetId[]): BenchCase {
  const batch = randomBatch(size, points);
  return {
    name: `64 samples beside one, ${size} scenes of ${points} points`,
    bind: () => stepper(64, batch),
    baseline: { name: "M = 1", bind: () => stepper(1, batch), sameResult: false },
    threads: "most",
    metrics: (): Metric[] => {
      const [many, one] = [64, 1].map((samples) => scope(() => peakBytes(stepper(samples, batch))));
      return [{ name: "peak bytes beside M = 1", value: many / one, unit: "x" }];
    },
    countsFor,
  };
}

/** Cost of M = 64 noised actions a scene against M = 1 (Table 3 of the paper). */
export const level2Suite: Suite = {
  name: "level2",
  cases: [
    costOfSamples(2, 4000, ["level2-time-4000", "level2-bytes-4000"]),
    costOfSamples(8, 1024, ["level2-time-1024", "level2-bytes-1024"]),
  ],
};
