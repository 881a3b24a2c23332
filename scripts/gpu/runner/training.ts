import { MiniDiffuser } from "@md/diffusion";
import { adamwStep, backward, type DeviceName, Generator, scope, zerosLike } from "@md/tensor";
import { randomBatch } from "../../../benchmarks/scenes.js";
import { messageOf, type Outcome } from "./outcome.js";

const config = {
  encChannels: [12, 24],
  encNumHeads: [2, 4],
  encDepths: [1, 1],
  decChannels: [12],
  decNumHeads: [2],
  decDepths: [1],
  patchSize: 32,
  contextDim: 24,
  samples: 4,
  instructionDim: 16,
};

/** Losses of training steps of a small policy, AdamW included. */
export function trainingLosses(device: DeviceName, steps: number): number[] {
  return scope(() => {
    const policy = new MiniDiffuser(config, { generator: new Generator(1) }).to(device);
    const batch = randomBatch(2, 128, 4, config.instructionDim);
    const generator = new Generator(2);
    const parameters = policy.parameters();
    const [expAvgs, expAvgSqs] = [parameters.map(zerosLike), parameters.map(zerosLike)];
    try {
      return Array.from({ length: steps }, (_, i) =>
        scope(() => {
          const { loss } = policy.loss(batch, generator);
          backward(loss);
          const trained = parameters.flatMap(({ grad }, j) => (grad ? [{ grad, j }] : []));
          const of = <T>(list: readonly T[]): T[] => trained.map(({ j }) => list[j]!);
          adamwStep(
            {
              parameters: of(parameters),
              grads: trained.map(({ grad }) => grad),
              expAvgs: of(expAvgs),
              expAvgSqs: of(expAvgSqs),
            },
            { lr: 1e-3, betas: [0.9, 0.98], eps: 1e-8, weightDecay: 0.01, step: i + 1 },
          );
          policy.zeroGrad();
          return loss.item();
        }),
      );
    } finally {
      policy.dispose();
    }
  });
}

/**
 * The losses of one training run on two devices: the first step's within 1e-4, the next nine's within 1e-2, the mean of
 * the last tenth's within 5%, since rounding grows from step to step. NaN fails.
 *
 * @throws Error that names the step and both numbers
 */
export function compareLosses(found: readonly number[], expected: readonly number[]): void {
  const tail = Math.ceil(expected.length / 10);
  const mean = (list: readonly number[]): number => list.slice(-tail).reduce((sum, loss) => sum + loss, 0) / tail;
  const check = (what: string, a: number, b: number, tolerance: number): void => {
    if (!(Math.abs(a - b) <= tolerance * Math.abs(b)))
      throw new Error(`${what}: loss is ${a}, expected ${b} within ${tolerance} of it`);
  };
  for (let i = 0; i < Math.min(10, expected.length); i++)
    check(`step ${i + 1}`, found[i]!, expected[i]!, i === 0 ? 1e-4 : 1e-2);
  check(`mean of the last ${tail} steps`, mean(found), mean(expected), 0.05);
}

/** Training steps on `device` against the CPU's. */
export function checkTraining(device: DeviceName, steps: number, outcome: Outcome): void {
  const name = `${steps} training steps of a small policy`;
  try {
    const started = performance.now();
    const found = trainingLosses(device, steps);
    const seconds = (performance.now() - started) / 1000;
    compareLosses(found, trainingLosses("cpu", steps));
    outcome.add({ name, status: "passed", numbers: { seconds, "first loss": found[0]!, "last loss": found.at(-1)! } });
  } catch (error) {
    outcome.add({ name, status: "failed", reason: messageOf(error) });
  }
}
