import { getPolicy } from "@md/diffusion";
import { Generator } from "@md/tensor";
import { batchSource, createPolicy, dataStatistics, type StepMetrics, type TrainConfig, Trainer } from "@md/train";
import type { ReachDataset } from "./scenes.js";
import { type ActionShares, judgeUnseenActions } from "./unseen-actions.js";

/** Shares of unseen actions after some training. */
export interface CurvePoint extends ActionShares {
  step: number;
  /** Seconds of training, evaluations left out. */
  seconds: number;
}

/** Points of a learning curve, evenly spaced; the last is after the last step. */
const EVALUATIONS = 12;

/** Steps after which a run of `steps` steps is evaluated. */
export const evaluationSteps = (steps: number): Set<number> =>
  new Set(Array.from({ length: EVALUATIONS }, (_, i) => Math.ceil((steps * (i + 1)) / EVALUATIONS)));

/**
 * Trains one policy as `minidiff train` would, and judges its averaged weights on the way.
 *
 * @param config `training.steps` is set, and `training.maxMinutes` null
 */
export async function trainCurve(
  config: TrainConfig,
  data: { training: ReachDataset; unseen: ReachDataset },
  onStep: (metrics: StepMetrics) => void,
): Promise<CurvePoint[]> {
  const factory = getPolicy(config.model);
  const { dataset } = data.training;
  const nextBatch = batchSource(dataset, config);
  const policy = createPolicy(factory, config, dataStatistics(dataset, config.data), nextBatch(0));
  const trainer = new Trainer({
    policy,
    nextBatch,
    optimizer: config.optimizer,
    training: config.training,
    generator: new Generator(config.seed).fork("noise"),
  });
  const { points } = config.data;
  const judge = (): Promise<ActionShares> => judgeUnseenActions(policy, data.unseen, { points, seed: config.seed });
  const due = evaluationSteps(config.training.steps!);
  const curve: CurvePoint[] = [];
  let seconds = 0;
  try {
    await trainer.run({
      async onStep(metrics) {
        seconds += metrics.dataSeconds + metrics.updateSeconds;
        onStep(metrics);
        if (!due.has(metrics.step)) return;
        const shares = trainer.ema ? await trainer.ema.withAverages(judge) : await judge();
        curve.push({ step: metrics.step, seconds, ...shares });
      },
    });
  } finally {
    trainer.dispose();
    policy.dispose();
  }
  return curve;
}
