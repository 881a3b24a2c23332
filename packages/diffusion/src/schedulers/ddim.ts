import { add, mul, type Tensor, ValueError } from "@md/tensor";
import { type Fields, flag } from "../config.js";
import { fromDiffusersConfig } from "./diffusers-config.js";
import { Scheduler, type SchedulerConfig, schedulerFields } from "./scheduler.js";
import { combine, type NoiseSource, runStep, stepNoise, type StepResult } from "./step.js";

export interface DDIMConfig extends SchedulerConfig {
  /** Whether ᾱ after the last step is 1, else ᾱ_0. Default true. */
  setAlphaToOne: boolean;
}

const fields: Fields<DDIMConfig> = { ...schedulerFields, setAlphaToOne: flag(true) };

export type DDIMStepOptions = NoiseSource & {
  /** η: 0 is deterministic, 1 has DDPM's variance. Default 0. */
  eta?: number;
};

/**
 * Denoising diffusion implicit models (Song et al., 2021), with the numbers of diffusers' `DDIMScheduler`, except that
 * the previous timestep is always the next one of `timesteps`, also where the spacing is uneven.
 * Formula numbers are those of https://arxiv.org/abs/2010.02502.
 */
export class DDIMScheduler extends Scheduler<DDIMConfig> {
  /** @throws ValueError for an unknown key or a value out of range */
  constructor(config: Partial<DDIMConfig> = {}) {
    super(fields, config);
  }

  /** From parsed JSON with the keys of {@link DDIMConfig}; absent keys take their defaults. ValueError as the constructor. */
  static fromConfig(json: unknown): DDIMScheduler {
    return new DDIMScheduler(json as Partial<DDIMConfig>);
  }

  /** From a `scheduler_config.json` of diffusers. ValueError for what is unknown or not supported. */
  static fromDiffusers(json: Readonly<Record<string, unknown>>): DDIMScheduler {
    return DDIMScheduler.fromConfig(fromDiffusersConfig("DDIMScheduler", json));
  }

  /**
   * One reverse step, without gradients. Noise is drawn only when `eta` is above 0.
   *
   * @param modelOutput the prediction for `sample` at `timestep`, any shape, f32 or f64
   * @param timestep one of `timesteps`
   * @param sample like `modelOutput`
   * @throws ShapeError, DTypeError; ValueError for a timestep not visited, a bad eta, or when noise has no source
   */
  step(modelOutput: Tensor, timestep: number, sample: Tensor, options: DDIMStepOptions = {}): StepResult {
    const { eta = 0 } = options;
    if (!(eta >= 0 && eta <= 1)) throw new ValueError(`[DDIMScheduler.step] eta is ${eta}, expected 0 to 1`);
    return runStep("DDIMScheduler.step", modelOutput, sample, () => {
      const final = this.config.setAlphaToOne ? 1 : this.alphasCumprod[0]!;
      const { alpha, alphaPrev } = this.alphasAround("DDIMScheduler.step", timestep, final);
      const { original, epsilon } = this.predictions(modelOutput, sample, alpha);
      // Formula 16: the squared deviation is this share of 1 - alphaPrev. Formula 12: the rest is the direction to x_t.
      const share = eta ** 2 * ((1 - alpha / alphaPrev) / (1 - alpha));
      const direction = Math.sqrt((1 - alphaPrev) * (1 - share));
      const mean = combine(Math.sqrt(alphaPrev), original, direction, epsilon);
      if (eta === 0) return { prevSample: mean, predOriginalSample: original };
      const noise = stepNoise("DDIMScheduler.step", sample, options);
      return { prevSample: add(mean, mul(noise, Math.sqrt((1 - alphaPrev) * share))), predOriginalSample: original };
    });
  }
}
