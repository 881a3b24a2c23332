import { add, clamp, detach, mul, scope, ShapeError, sub, tensor, Tensor, ValueError } from "@md/tensor";
import { between, type Fields, flag, integer, oneOf, resolveConfig } from "../config.js";
import { betas, type BetaSchedule, betaSchedules, cumulativeAlphas } from "./betas.js";
import { checkAlike, combine, visitedIndex } from "./step.js";
import { spacedTimesteps, type TimestepSpacing, timestepSpacings } from "./timesteps.js";

/** What the model predicts: the noise ε, the clean sample, or v = √ᾱ·ε - √(1-ᾱ)·x₀ (Salimans and Ho, 2022). */
export const predictionTypes = ["epsilon", "sample", "v_prediction"] as const;
export type PredictionType = (typeof predictionTypes)[number];

/** What DDPM, DDIM and DPM-Solver++ have in common; names and defaults are those of diffusers. */
export interface SchedulerConfig {
  /** K, steps of the forward process. Default 1000. */
  numTrainTimesteps: number;
  /** β of the first step. Default 1e-4. */
  betaStart: number;
  /** β of the last step. Default 0.02. */
  betaEnd: number;
  /** Default "linear". */
  betaSchedule: BetaSchedule;
  /** Default "epsilon". */
  predictionType: PredictionType;
  /** Holds the predicted clean sample to ±clipSampleRange. Default true. */
  clipSample: boolean;
  /** Default 1. */
  clipSampleRange: number;
  /** Default "leading". */
  timestepSpacing: TimestepSpacing;
  /** Added to every timestep of the leading spacing. Default 0. */
  stepsOffset: number;
}

/** Most training timesteps that a schedule may have. */
export const MAX_TRAIN_TIMESTEPS = 1_000_000;

export const schedulerFields: Fields<SchedulerConfig> = {
  numTrainTimesteps: integer(1000, 1, MAX_TRAIN_TIMESTEPS),
  betaStart: between(1e-4, 0, 1),
  betaEnd: between(0.02, 0, 1),
  betaSchedule: oneOf("linear", betaSchedules),
  predictionType: oneOf("epsilon", predictionTypes),
  clipSample: flag(true),
  clipSampleRange: between(1, 0, Infinity),
  timestepSpacing: oneOf("leading", timestepSpacings),
  stepsOffset: integer(0, 0),
};

/** The noise schedule and what DDPM, DDIM and DPM-Solver++ share. Constants are float64 on the host. */
export abstract class Scheduler<C extends SchedulerConfig> {
  /** Complete and frozen. */
  readonly config: Readonly<C>;
  /** β_t, [numTrainTimesteps]. */
  readonly betas: Float64Array;
  /** ᾱ_t, [numTrainTimesteps]. */
  readonly alphasCumprod: Float64Array;
  private visited: readonly number[];

  protected constructor(fields: Fields<C>, config: unknown) {
    this.config = resolveConfig<C>(new.target.name, fields, config);
    const { numTrainTimesteps: total, betaStart, betaEnd, betaSchedule } = this.config;
    this.betas = betas(betaSchedule, total, betaStart, betaEnd);
    this.alphasCumprod = cumulativeAlphas(this.betas);
    this.visited = Object.freeze(Array.from({ length: total }, (_, i) => total - 1 - i));
  }

  /** Timesteps that sampling visits, latest first; all of training's until `setTimesteps`. */
  get timesteps(): readonly number[] {
    return this.visited;
  }

  /**
   * Chooses the `numInferenceSteps` timesteps that sampling visits.
   *
   * @throws ValueError unless it is an integer from 1 to numTrainTimesteps
   */
  setTimesteps(numInferenceSteps: number): void {
    const { timestepSpacing, numTrainTimesteps, stepsOffset } = this.config;
    this.visit(spacedTimesteps(timestepSpacing, numTrainTimesteps, numInferenceSteps, stepsOffset));
  }

  /** Makes `timesteps` those that sampling visits. */
  protected visit(timesteps: readonly number[]): void {
    this.visited = Object.freeze(timesteps);
  }

  /** √ᾱ after the last training step: how much of the clean sample is left where sampling starts from pure noise. */
  remainingSignal(): number {
    return Math.sqrt(this.alphasCumprod[this.alphasCumprod.length - 1]!);
  }

  /** The configuration, for JSON.stringify; `fromConfig` reads it back. */
  toJSON(): C {
    return { ...this.config };
  }

  /**
   * √ᾱ_t · original + √(1-ᾱ_t) · noise (Eq. 2).
   *
   * @param original clean samples, [n, …], f32 or f64
   * @param noise like `original`
   * @param timesteps one a sample, [n] i64 or i32, or n numbers; the host reads them, so a tensor best lies on the CPU
   * @throws ShapeError, DTypeError, or ValueError for a timestep out of range
   */
  addNoise(original: Tensor, noise: Tensor, timesteps: Tensor | readonly number[]): Tensor {
    checkAlike("addNoise", "noise", noise, original);
    return scope(() => {
      const [signal, deviation] = this.mixing("addNoise", original, timesteps);
      return add(mul(original, signal), mul(noise, deviation));
    });
  }

  /**
   * √ᾱ_t · noise - √(1-ᾱ_t) · sample: the target of v_prediction. Arguments as in {@link addNoise}.
   */
  getVelocity(sample: Tensor, noise: Tensor, timesteps: Tensor | readonly number[]): Tensor {
    checkAlike("getVelocity", "noise", noise, sample);
    return scope(() => {
      const [signal, deviation] = this.mixing("getVelocity", sample, timesteps);
      return sub(mul(noise, signal), mul(sample, deviation));
    });
  }

  // √ᾱ and √(1-ᾱ) of each sample, shaped to broadcast over it.
  private mixing(op: string, x: Tensor, timesteps: Tensor | readonly number[]): [Tensor, Tensor] {
    const flat = timesteps instanceof Tensor ? timesteps.toFlatArray() : timesteps;
    if (x.rank === 0 || flat.length !== x.shape[0]) {
      throw new ShapeError(`[${op}] found ${flat.length} timesteps for shape [${x.shape}], expected one a row`);
    }
    const alphas = flat.map((timestep) => this.alphaCumprod(op, timestep));
    const options = { shape: [flat.length, ...x.shape.slice(1).map(() => 1)], dtype: x.dtype, device: x.device };
    return [
      tensor(alphas.map(Math.sqrt), options),
      tensor(
        alphas.map((alpha) => Math.sqrt(1 - alpha)),
        options,
      ),
    ];
  }

  private alphaCumprod(op: string, timestep: number): number {
    const alpha = this.alphasCumprod[timestep];
    if (alpha === undefined) {
      throw new ValueError(
        `[${op}] found timestep ${timestep}, expected an integer from 0 to ${this.alphasCumprod.length - 1}`,
      );
    }
    return alpha;
  }

  /** ᾱ at a visited timestep and at the one visited after it (`final` after the last). ValueError for one not visited. */
  protected alphasAround(op: string, timestep: number, final: number): { alpha: number; alphaPrev: number } {
    const previous = this.visited[visitedIndex(op, this.visited, timestep) + 1];
    return {
      alpha: this.alphasCumprod[timestep]!,
      alphaPrev: previous === undefined ? final : this.alphasCumprod[previous]!,
    };
  }

  /** The clean sample (clipped) and, unclipped, the noise that the model's output stands for, at ᾱ = `alpha`. */
  protected predictions(modelOutput: Tensor, sample: Tensor, alpha: number): { original: Tensor; epsilon: Tensor } {
    const [signal, deviation] = [Math.sqrt(alpha), Math.sqrt(1 - alpha)];
    const { predictionType, clipSample, clipSampleRange } = this.config;
    const clip = (x: Tensor): Tensor => (clipSample ? clamp(x, { min: -clipSampleRange, max: clipSampleRange }) : x);
    switch (predictionType) {
      case "epsilon":
        return {
          original: clip(combine(1 / signal, sample, -deviation / signal, modelOutput)),
          epsilon: modelOutput,
        };
      case "sample":
        return {
          original: clip(detach(modelOutput)),
          epsilon: combine(1 / deviation, sample, -signal / deviation, modelOutput),
        };
      case "v_prediction":
        return {
          original: clip(combine(signal, sample, -deviation, modelOutput)),
          epsilon: combine(signal, modelOutput, deviation, sample),
        };
    }
  }
}
