import { add, mul, type Tensor } from "@md/tensor";
import { type Fields, flag, integer, oneOf } from "../config.js";
import { fromDiffusersConfig, neutralBetaKeys } from "./diffusers-config.js";
import { dpmSolverUpdate, noiseLevel } from "./dpm-solver-update.js";
import { Scheduler, type SchedulerConfig, schedulerFields } from "./scheduler.js";
import { type NoiseSource, remember, runStep, stepNoise, type StepResult, visitedIndex } from "./step.js";
import { spacedTimesteps, timestepSpacings } from "./timesteps.js";

/** The probability-flow ODE, or the reverse SDE. */
export const algorithmTypes = ["dpmsolver++", "sde-dpmsolver++"] as const;
export type AlgorithmType = (typeof algorithmTypes)[number];

/** Weight of the second-order term: as of a midpoint rule, or that of a linear x₀. */
export const solverTypes = ["midpoint", "heun"] as const;
export type SolverType = (typeof solverTypes)[number];

/** Noise that the last step leaves: none, or that of timestep 0. */
export const finalSigmasTypes = ["zero", "sigma_min"] as const;
export type FinalSigmasType = (typeof finalSigmasTypes)[number];

/** As in diffusers, where `timestepSpacing` is "linspace" by default and nothing is clipped. */
export interface DPMSolverMultistepConfig extends SchedulerConfig {
  /** How many of the last predictions a step uses, 1 to 3. Default 2. */
  solverOrder: number;
  /** Default "dpmsolver++". */
  algorithmType: AlgorithmType;
  /** Of the second order. Default "midpoint". */
  solverType: SolverType;
  /** Whether runs of fewer than 15 steps end with orders 2 and 1, for stability. Default true. */
  lowerOrderFinal: boolean;
  /** Default "zero", where the last step is always of order 1. */
  finalSigmasType: FinalSigmasType;
}

const fields: Fields<DPMSolverMultistepConfig> = {
  ...schedulerFields,
  clipSample: flag(false),
  timestepSpacing: oneOf("linspace", timestepSpacings),
  solverOrder: integer(2, 1, 3),
  algorithmType: oneOf("dpmsolver++", algorithmTypes),
  solverType: oneOf("midpoint", solverTypes),
  lowerOrderFinal: flag(true),
  finalSigmasType: oneOf("zero", finalSigmasTypes),
};

const neutral = {
  ...neutralBetaKeys,
  euler_at_final: (value: unknown) => value === false,
  lambda_min_clipped: (value: unknown) => value === null || value === -Infinity,
  variance_type: (value: unknown) => value === null,
  use_karras_sigmas: (value: unknown) => value === false,
  use_exponential_sigmas: (value: unknown) => value === false,
  use_beta_sigmas: (value: unknown) => value === false,
  use_lu_lambdas: (value: unknown) => value === false,
  use_flow_sigmas: (value: unknown) => value === false,
  flow_shift: () => true,
  use_dynamic_shifting: (value: unknown) => value === false,
  time_shift_type: () => true,
};

/** Runs of fewer steps end with lower orders. */
const FEW_STEPS = 15;

/**
 * DPM-Solver++ (Lu et al., 2022, https://arxiv.org/abs/2211.01095), multistep, with the numbers of diffusers'
 * `DPMSolverMultistepScheduler`; see {@link dpmSolverUpdate}. `clipSample` holds the predicted clean sample, as for the
 * other schedulers.
 *
 * A step remembers its prediction for the next ones. Steps follow `timesteps`; one that does not follow the last one
 * starts anew with order 1.
 */
export class DPMSolverMultistepScheduler extends Scheduler<DPMSolverMultistepConfig> {
  /** Predicted clean samples of the last steps, the latest first. */
  private originals: Tensor[] = [];
  /** Index of the step that may use them. */
  private next = 0;

  /** @throws ValueError for an unknown key or a value out of range */
  constructor(config: Partial<DPMSolverMultistepConfig> = {}) {
    super(fields, config);
  }

  /** From parsed JSON; absent keys take their defaults. ValueError as the constructor. */
  static fromConfig(json: unknown): DPMSolverMultistepScheduler {
    return new DPMSolverMultistepScheduler(json as Partial<DPMSolverMultistepConfig>);
  }

  /** From a `scheduler_config.json` of diffusers. ValueError for what is unknown or not supported. */
  static fromDiffusers(json: Readonly<Record<string, unknown>>): DPMSolverMultistepScheduler {
    return DPMSolverMultistepScheduler.fromConfig(fromDiffusersConfig("DPMSolverMultistepScheduler", json, neutral));
  }

  /**
   * Chooses the timesteps that sampling visits, and forgets earlier steps.
   *
   * @throws ValueError unless `numInferenceSteps` is an integer from 1 to numTrainTimesteps, or to one less where the
   *   spacing is not trailing
   */
  override setTimesteps(numInferenceSteps: number): void {
    const { timestepSpacing, numTrainTimesteps, stepsOffset } = this.config;
    this.visit(spacedTimesteps(timestepSpacing, numTrainTimesteps, numInferenceSteps, stepsOffset, true));
    this.reset();
  }

  /** Forgets earlier steps and frees what was remembered of them. The last step does so by itself. */
  reset(): void {
    this.originals.forEach((original) => original.dispose());
    this.originals = [];
  }

  /**
   * One reverse step, without gradients. The SDE draws noise at every step but one that ends without noise.
   *
   * @param modelOutput the prediction for `sample` at `timestep`, any shape, f32 or f64
   * @param timestep one of `timesteps`
   * @param sample like `modelOutput`
   * @throws ShapeError, DTypeError; ValueError for a timestep not visited or when noise is needed and has no source
   */
  step(modelOutput: Tensor, timestep: number, sample: Tensor, source: NoiseSource = {}): StepResult {
    const op = "DPMSolverMultistepScheduler.step";
    const index = visitedIndex(op, this.timesteps, timestep);
    if (index !== this.next) this.reset();
    const known = this.originals.slice(0, this.orderAt(index) - 1);
    const { algorithmType, solverType } = this.config;
    const result = runStep(op, modelOutput, sample, () => {
      const final = this.config.finalSigmasType === "zero" ? 1 : this.alphasCumprod[0]!;
      const { alpha, alphaPrev } = this.alphasAround(op, timestep, final);
      const { original } = this.predictions(modelOutput, sample, alpha);
      const earlier = known.map((_, k) => this.alphasCumprod[this.timesteps[index - 1 - k]!]!);
      const update = dpmSolverUpdate(noiseLevel(alphaPrev), [alpha, ...earlier].map(noiseLevel), {
        stochastic: algorithmType === "sde-dpmsolver++",
        solverType,
      });
      const mean = [original, ...known].reduce(
        (sum, x, k) => add(sum, mul(x, update.originals[k]!)),
        mul(sample, update.sample),
      );
      if (update.noise === 0) return { prevSample: mean, predOriginalSample: original };
      const noise = stepNoise(op, sample, source);
      return { prevSample: add(mean, mul(noise, update.noise)), predOriginalSample: original };
    });
    this.follow(index, result.predOriginalSample);
    return result;
  }

  // At most the order asked for, one more than there are earlier predictions, and towards the end the steps left.
  private orderAt(index: number): number {
    const { solverOrder, lowerOrderFinal, finalSigmasType } = this.config;
    const left = this.timesteps.length - index;
    if (left === 1 && finalSigmasType === "zero") return 1;
    const most = lowerOrderFinal && this.timesteps.length < FEW_STEPS ? left : solverOrder;
    return Math.min(solverOrder, this.originals.length + 1, most);
  }

  private follow(index: number, original: Tensor): void {
    if (index + 1 === this.timesteps.length) return this.reset();
    this.originals.unshift(remember(original));
    if (this.originals.length >= this.config.solverOrder) this.originals.pop()!.dispose();
    this.next = index + 1;
  }
}
