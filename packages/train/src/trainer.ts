import { setImmediate } from "node:timers/promises";
import type { Policy, PolicyBatch } from "@md/diffusion";
import { autocast, type Generator, scope, type Tensor } from "@md/tensor";
import type { OptimizerConfig, TrainingConfig } from "./config/schema.js";
import { TrainingError } from "./errors.js";
import { AdamW } from "./optim/adamw.js";
import { clipFactor, gradNorm } from "./optim/clip-grad-norm.js";
import { Ema } from "./optim/ema.js";
import { GradScaler } from "./optim/grad-scaler.js";
import { cosineWithWarmup, type LearningRateSchedule } from "./optim/lr-schedule.js";

/** A loss scale that no run comes back from, as fairseq's `--min-loss-scale`. */
const LEAST_SCALE = 1e-4;

export interface TrainerOptions {
  policy: Policy;
  /**
   * Batch `index` of the run, from 0: a function of the index alone, so that a resumed run sees the same batches. That of
   * a loader of `@md/rlbench-data` is drawn ahead while the step before is computed.
   */
  nextBatch(index: number): PolicyBatch | Promise<PolicyBatch>;
  optimizer: OptimizerConfig;
  training: Pick<TrainingConfig, "steps" | "maxMinutes" | "accumulate" | "precision">;
  /** Noise and timesteps. */
  generator: Generator;
}

/** What one optimiser step did. */
export interface StepMetrics {
  /** Optimiser steps done, this one included. */
  step: number;
  loss: number;
  /** Named parts of the loss. */
  parts: Record<string, number>;
  /** Euclidean norm of all gradients, before clipping. */
  gradNorm: number;
  learningRate: number;
  /** Of f16 alone: steps left out so far because loss or gradients were not finite, and the scale of the next loss. */
  skipped?: number;
  lossScale?: number;
  /** Seconds in which the step waited for its batches, and of all else. */
  dataSeconds: number;
  updateSeconds: number;
}

/** Loss of one batch and its named parts, scalars where the policy lies. */
interface BatchLosses {
  loss: Tensor;
  parts: Record<string, Tensor>;
}

/**
 * Trains a policy where it lies: one scope a step, and a return to the event loop after each. The budget is `steps`, `maxMinutes`, or
 * both, whichever comes first; the learning rate follows {@link progress}. Under `steps` alone a run that was saved and
 * restored goes on to the bit; under `maxMinutes` the learning rate depends on the clock.
 */
export class Trainer {
  readonly policy: Policy;
  readonly optimizer: AdamW;
  /** Averaged weights; null where `emaDecay` is 0. */
  readonly ema: Ema | null;
  /** Loss scaling; null unless `precision` is f16. */
  readonly scaler: GradScaler | null;
  /** Optimiser steps done, those that f16 left out included. */
  step = 0;
  /** Seconds of {@link run}, with all that it does between steps. */
  elapsedSeconds = 0;
  private readonly schedule: LearningRateSchedule;

  constructor(private readonly options: TrainerOptions) {
    const { policy, optimizer, training } = options;
    const { learningRate, weightDecay, beta1, beta2, epsilon, warmupSteps, finalFraction } = optimizer;
    this.policy = policy.train();
    this.optimizer = new AdamW(policy.namedParameters(), {
      learningRate,
      weightDecay,
      betas: [beta1, beta2],
      epsilon,
    });
    this.ema = optimizer.emaDecay > 0 ? new Ema(policy, optimizer.emaDecay) : null;
    this.scaler = training.precision === "f16" ? new GradScaler() : null;
    this.schedule = cosineWithWarmup({ peak: learningRate, warmupSteps, finalFraction });
  }

  get generator(): Generator {
    return this.options.generator;
  }

  /** Share of the budget used: the larger of those of steps and of time. 0 without a budget. */
  get progress(): number {
    const { steps, maxMinutes } = this.options.training;
    const ofSteps = steps === null ? 0 : this.step / steps;
    const ofTime = maxMinutes === null ? 0 : this.elapsedSeconds / (60 * maxMinutes);
    return Math.max(ofSteps, ofTime);
  }

  /** Whether the budget is used up. */
  get finished(): boolean {
    return this.progress >= 1;
  }

  /**
   * One optimiser step over `accumulate` batches.
   *
   * @throws TrainingError when loss or gradients are not finite; the weights are then those before the step. In f16 such a
   *   step is left out and halves the scale of the loss; the error comes when that falls below 1e-4
   */
  async trainStep(): Promise<StepMetrics> {
    const { nextBatch, training } = this.options;
    const start = performance.now();
    const batches: PolicyBatch[] = [];
    for (let i = 0; i < training.accumulate; i++) batches.push(await nextBatch(this.step * training.accumulate + i));
    const prepared = performance.now();
    const metrics = scope(() => this.update(batches));
    const dataSeconds = (prepared - start) / 1000;
    return { ...metrics, dataSeconds, updateSeconds: (performance.now() - prepared) / 1000 };
  }

  private update(batches: readonly PolicyBatch[]): Omit<StepMetrics, "dataSeconds" | "updateSeconds"> {
    this.policy.zeroGrad();
    const losses = batches.map((batch) => scope(() => this.backward(batch)));
    this.scaler?.unscale(this.policy.parameters());
    // Waits for the device; the losses are there then.
    const norm = gradNorm(this.policy.parameters()).item();
    const mean = averageLosses(losses);
    const finite = this.checkFinite(mean.loss, norm);
    const learningRate = this.schedule(this.step, this.progress);
    const clipped = clipFactor(norm, this.options.optimizer.clipGradNorm ?? Infinity);
    if (finite) this.optimizer.step(learningRate, clipped);
    this.policy.zeroGrad();
    this.step++;
    if (finite) this.ema?.update(this.step);
    const scaling = this.scaler && { skipped: this.scaler.skipped, lossScale: this.scaler.scale };
    return { step: this.step, ...mean, gradNorm: norm, learningRate, ...scaling };
  }

  // Whether the step can be done; f16 may go on without it.
  private checkFinite(loss: number, gradNorm: number): boolean {
    const finite = Number.isFinite(loss) && Number.isFinite(gradNorm);
    const problem = Number.isFinite(loss) ? `gradient norm is ${gradNorm}` : `loss is ${loss}`;
    if (!this.scaler && !finite) throw new TrainingError(this.step + 1, problem);
    this.scaler?.update(finite);
    if (this.scaler && this.scaler.scale < LEAST_SCALE)
      throw new TrainingError(this.step + 1, `${problem}, though the loss scale is down to ${this.scaler.scale}`);
    return finite;
  }

  // Gradients of one batch, scaled so that those of all accumulated batches sum to their mean.
  private backward(batch: PolicyBatch): BatchLosses {
    const { accumulate, precision } = this.options.training;
    const { loss, parts } = autocast(precision, () => this.policy.loss(batch, this.generator));
    const scaled = this.scaler ? this.scaler.scaleLoss(loss) : loss;
    (accumulate === 1 ? scaled : scaled.mul(1 / accumulate)).backward();
    return { loss, parts };
  }

  /**
   * Steps until the budget is used up or `signal` aborts; then the step in progress is finished first.
   *
   * @param options.onStep called after each step; its time counts against `maxMinutes` too
   */
  async run(
    options: { signal?: AbortSignal; onStep?(metrics: StepMetrics): void | Promise<void> } = {},
  ): Promise<void> {
    const start = performance.now() - 1000 * this.elapsedSeconds;
    while (!this.finished && !options.signal?.aborted) {
      const metrics = await this.trainStep();
      this.elapsedSeconds = (performance.now() - start) / 1000;
      await options.onStep?.(metrics);
      await setImmediate();
    }
  }

  /** Frees the optimiser's state and the averaged weights; the policy stays. */
  dispose(): void {
    this.optimizer.dispose();
    this.ema?.dispose();
  }
}

function averageLosses(losses: readonly BatchLosses[]): Pick<StepMetrics, "loss" | "parts"> {
  const mean = (value: (entry: BatchLosses) => Tensor): number =>
    losses.reduce((sum, entry) => sum + value(entry).item(), 0) / losses.length;
  const names = Object.keys(losses[0]!.parts);
  return {
    loss: mean(({ loss }) => loss),
    parts: Object.fromEntries(names.map((name) => [name, mean(({ parts }) => parts[name]!)])),
  };
}
