import { add, mul, scope, ShapeError, sub, tensor, Tensor, ValueError } from "@md/tensor";
import { between, type Fields, integer, resolveConfig } from "../config.js";
import { linspace } from "./betas.js";
import { fromDiffusersConfig, type NeutralKeys } from "./diffusers-config.js";
import { MAX_TRAIN_TIMESTEPS } from "./scheduler.js";
import { checkAlike } from "./step.js";
import { checkStepCount } from "./timesteps.js";

/** What the flow-matching schedulers have in common; names and defaults are those of diffusers. */
export interface FlowMatchConfig {
  /** K: a timestep is K times its noise level σ. Default 1000. */
  numTrainTimesteps: number;
  /** Moves the steps towards the noise: σ to shift·σ / (1 + (shift - 1)·σ) (Esser et al., 2024, Eq. 23). Default 1. */
  shift: number;
}

const fields: Fields<FlowMatchConfig> = {
  numTrainTimesteps: integer(1000, 1, MAX_TRAIN_TIMESTEPS),
  shift: between(1, 0, Infinity),
};

/**
 * Rectified flow (Liu et al., 2023, https://arxiv.org/abs/2209.03003; Lipman et al., 2023): samples and noise are joined
 * by straight lines x_σ = (1-σ)·x₀ + σ·ε, the network learns their velocity ε - x₀, and sampling follows it from σ = 1 to
 * 0. Steps and names are those of diffusers.
 */
export abstract class FlowMatchScheduler {
  /** Complete and frozen. */
  readonly config: Readonly<FlowMatchConfig>;
  private levels: readonly number[] = [];
  private visited: readonly number[] = [];

  /** @throws ValueError for an unknown key or a value out of range */
  constructor(config: Partial<FlowMatchConfig> = {}) {
    this.config = resolveConfig(new.target.name, fields, config);
    const { numTrainTimesteps: total } = this.config;
    this.setSigmas([...linspace(1, 1 / total, total)]);
  }

  /** Noise levels of the steps, descending, then 0; of all training timesteps until `setTimesteps`. */
  get sigmas(): readonly number[] {
    return this.levels;
  }

  /** Timesteps K·σ at which the network is evaluated, in order; reals. */
  get timesteps(): readonly number[] {
    return this.visited;
  }

  /**
   * Chooses `numInferenceSteps` noise levels, evenly from 1 to the (shifted) lowest of training, before the shift.
   *
   * @throws ValueError unless it is an integer from 1 to numTrainTimesteps
   */
  setTimesteps(numInferenceSteps: number): void {
    const { numTrainTimesteps } = this.config;
    checkStepCount(numInferenceSteps, numTrainTimesteps);
    this.setSigmas([...linspace(1, this.shifted(1 / numTrainTimesteps), numInferenceSteps)]);
  }

  /**
   * Chooses the noise levels themselves, before the shift; the last step always goes to 0. Even steps to 0, such as
   * [1, 0.75, 0.5, 0.25], waste none on the lowest level of training.
   *
   * @throws ValueError unless they descend within (0, 1]
   */
  setSigmas(sigmas: readonly number[]): void {
    const wrong = sigmas.findIndex((sigma, i) => !(sigma > 0 && sigma <= 1 && (i === 0 || sigma < sigmas[i - 1]!)));
    if (sigmas.length === 0 || wrong >= 0) {
      const found = wrong < 0 ? "no noise level" : `${sigmas[wrong]} at ${wrong}`;
      throw new ValueError(`[setSigmas] found ${found}, expected numbers that descend within (0, 1]`);
    }
    const shifted = sigmas.map((sigma) => this.shifted(sigma));
    this.levels = Object.freeze([...shifted, 0]);
    this.visited = Object.freeze(this.evaluations(shifted.map((sigma) => sigma * this.config.numTrainTimesteps)));
  }

  /** Timesteps of the network's evaluations, from the timesteps that steps start at. */
  protected abstract evaluations(steps: readonly number[]): number[];

  private shifted(sigma: number): number {
    const { shift } = this.config;
    return (shift * sigma) / (1 + (shift - 1) * sigma);
  }

  /** The configuration, for JSON.stringify; `fromConfig` reads it back. */
  toJSON(): FlowMatchConfig {
    return { ...this.config };
  }

  /**
   * (1-σ) · original + σ · noise with σ = timestep / K.
   *
   * @param original clean samples, [n, …], f32 or f64
   * @param noise like `original`
   * @param timesteps reals from 0 to K, one a sample: [n] of any dtype, or n numbers; the host reads them, so a tensor best
   *   lies on the CPU
   * @throws ShapeError, DTypeError, or ValueError for a timestep out of range
   */
  addNoise(original: Tensor, noise: Tensor, timesteps: Tensor | readonly number[]): Tensor {
    checkAlike("addNoise", "noise", noise, original);
    const flat = timesteps instanceof Tensor ? timesteps.toFlatArray() : timesteps;
    if (original.rank === 0 || flat.length !== original.shape[0])
      throw new ShapeError(
        `[addNoise] found ${flat.length} timesteps for shape [${original.shape}], expected one a row`,
      );
    const { numTrainTimesteps } = this.config;
    const wrong = flat.find((timestep) => !(timestep >= 0 && timestep <= numTrainTimesteps));
    if (wrong !== undefined)
      throw new ValueError(`[addNoise] found timestep ${wrong}, expected a number from 0 to ${numTrainTimesteps}`);
    return scope(() => {
      const sigma = tensor(
        flat.map((timestep) => timestep / numTrainTimesteps),
        {
          shape: [flat.length, ...original.shape.slice(1).map(() => 1)],
          dtype: original.dtype,
          device: original.device,
        },
      );
      return add(original, mul(sub(noise, original), sigma));
    });
  }

  /** noise - sample: the target of training, whatever the timestep. ShapeError, DTypeError unless they are alike. */
  getVelocity(sample: Tensor, noise: Tensor): Tensor {
    checkAlike("getVelocity", "noise", noise, sample);
    return sub(noise, sample);
  }
}

const neutral: NeutralKeys = {
  use_dynamic_shifting: (value) => value === false,
  invert_sigmas: (value) => value === false,
  stochastic_sampling: (value) => value === false,
  shift_terminal: (value) => value === null,
  use_karras_sigmas: (value) => value === false,
  use_exponential_sigmas: (value) => value === false,
  use_beta_sigmas: (value) => value === false,
  base_shift: () => true,
  max_shift: () => true,
  base_image_seq_len: () => true,
  max_image_seq_len: () => true,
  time_shift_type: () => true,
};

/** The camelCase form of a `scheduler_config.json` of flow matching. ValueError for what is not supported. */
export const flowFromDiffusers = (owner: string, json: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  fromDiffusersConfig(owner, json, neutral);
