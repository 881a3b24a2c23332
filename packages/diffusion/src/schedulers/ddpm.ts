import { add, mul, type Tensor } from "@md/tensor";
import { type Fields, oneOf } from "../config.js";
import { fromDiffusersConfig } from "./diffusers-config.js";
import { Scheduler, type SchedulerConfig, schedulerFields } from "./scheduler.js";
import { combine, type NoiseSource, runStep, stepNoise, type StepResult } from "./step.js";

/** Variance of a reverse step: that of the posterior, or β_t. */
export const varianceTypes = ["fixed_small", "fixed_large"] as const;
export type VarianceType = (typeof varianceTypes)[number];

export interface DDPMConfig extends SchedulerConfig {
  /** Default "fixed_small". */
  varianceType: VarianceType;
}

const fields: Fields<DDPMConfig> = { ...schedulerFields, varianceType: oneOf("fixed_small", varianceTypes) };
const MIN_VARIANCE = 1e-20;

/**
 * Denoising diffusion probabilistic models (Ho et al., 2020), with the numbers of diffusers' `DDPMScheduler`.
 * Formula numbers are those of https://arxiv.org/abs/2006.11239.
 */
export class DDPMScheduler extends Scheduler<DDPMConfig> {
  /** @throws ValueError for an unknown key or a value out of range */
  constructor(config: Partial<DDPMConfig> = {}) {
    super(fields, config);
  }

  /** From parsed JSON with the keys of {@link DDPMConfig}; absent keys take their defaults. ValueError as the constructor. */
  static fromConfig(json: unknown): DDPMScheduler {
    return new DDPMScheduler(json as Partial<DDPMConfig>);
  }

  /** From a `scheduler_config.json` of diffusers. ValueError for what is unknown or not supported. */
  static fromDiffusers(json: Readonly<Record<string, unknown>>): DDPMScheduler {
    return DDPMScheduler.fromConfig(fromDiffusersConfig("DDPMScheduler", json));
  }

  /**
   * One reverse step, without gradients. Noise is drawn at every timestep but 0.
   *
   * @param modelOutput the prediction for `sample` at `timestep`, any shape, f32 or f64
   * @param timestep one of `timesteps`
   * @param sample like `modelOutput`
   * @throws ShapeError, DTypeError; ValueError for a timestep not visited or when noise is needed and has no source
   */
  step(modelOutput: Tensor, timestep: number, sample: Tensor, source: NoiseSource = {}): StepResult {
    return runStep("DDPMScheduler.step", modelOutput, sample, () => {
      const { alpha, alphaPrev } = this.alphasAround("DDPMScheduler.step", timestep, 1);
      const stepAlpha = alpha / alphaPrev;
      const stepBeta = 1 - stepAlpha;
      const { original } = this.predictions(modelOutput, sample, alpha);
      // Formula 7: the posterior's mean.
      const mean = combine(
        (Math.sqrt(alphaPrev) * stepBeta) / (1 - alpha),
        original,
        (Math.sqrt(stepAlpha) * (1 - alphaPrev)) / (1 - alpha),
        sample,
      );
      if (timestep === 0) return { prevSample: mean, predOriginalSample: original };
      const posterior = Math.max(((1 - alphaPrev) / (1 - alpha)) * stepBeta, MIN_VARIANCE);
      const deviation = Math.sqrt(this.config.varianceType === "fixed_small" ? posterior : stepBeta);
      const noise = stepNoise("DDPMScheduler.step", sample, source);
      return { prevSample: add(mean, mul(noise, deviation)), predOriginalSample: original };
    });
  }
}
