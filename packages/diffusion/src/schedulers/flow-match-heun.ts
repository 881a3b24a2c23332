import { add, mul, type Tensor } from "@md/tensor";
import { type FlowMatchConfig, flowFromDiffusers, FlowMatchScheduler } from "./flow-match.js";
import { remember, runStep, type StepResult, visitedIndex } from "./step.js";

/** The first half of a Heun step. */
interface Prediction {
  /** Of the step, among the noise levels. */
  index: number;
  sample: Tensor;
  velocity: Tensor;
}

/**
 * Flow matching by Heun's method, with the numbers of diffusers' `FlowMatchHeunDiscreteScheduler`: of second order. The
 * network is evaluated twice a step, where the step starts and where Euler's method would end it, and once in the last
 * step. `timesteps` has every evaluation, so each timestep but the first is in it twice: call `step` for each in turn.
 *
 * A call that starts a step remembers it for the next call. One at another timestep than comes next starts a step anew.
 */
export class FlowMatchHeunDiscreteScheduler extends FlowMatchScheduler {
  private prediction: Prediction | null = null;

  /** From parsed JSON; absent keys take their defaults. ValueError as the constructor. */
  static fromConfig(json: unknown): FlowMatchHeunDiscreteScheduler {
    return new FlowMatchHeunDiscreteScheduler(json as Partial<FlowMatchConfig>);
  }

  /** From a `scheduler_config.json` of diffusers. ValueError for what is unknown or not supported. */
  static fromDiffusers(json: Readonly<Record<string, unknown>>): FlowMatchHeunDiscreteScheduler {
    return FlowMatchHeunDiscreteScheduler.fromConfig(flowFromDiffusers("FlowMatchHeunDiscreteScheduler", json));
  }

  override setSigmas(sigmas: readonly number[]): void {
    super.setSigmas(sigmas);
    this.reset();
  }

  protected evaluations([first, ...others]: readonly number[]): number[] {
    return [first!, ...others.flatMap((timestep) => [timestep, timestep])];
  }

  /** Forgets a step that was started, and frees what was remembered of it. The last step does so by itself. */
  reset(): void {
    this.prediction?.sample.dispose();
    this.prediction?.velocity.dispose();
    this.prediction = null;
  }

  /**
   * Half a step, without gradients: first x' = x + (σ' - σ)·v, then from the same x with the mean of both velocities.
   *
   * @param modelOutput the predicted velocity v for `sample` at `timestep`, any shape, f32 or f64
   * @param timestep the next of `timesteps`
   * @param sample like `modelOutput`
   * @throws ShapeError, DTypeError; ValueError for a timestep not visited
   */
  step(modelOutput: Tensor, timestep: number, sample: Tensor): StepResult {
    const op = "FlowMatchHeunDiscreteScheduler.step";
    const place = visitedIndex(op, this.timesteps, timestep);
    // Places 2k - 1 and 2k of the evaluations are at level k.
    const index = Math.ceil(place / 2);
    const sigma = this.sigmas[index]!;
    const { prediction } = this;
    const completes = prediction?.index === index - 1;
    const result = runStep(op, modelOutput, sample, () => {
      const predOriginalSample = add(sample, mul(modelOutput, -sigma));
      if (!completes) {
        const by = this.sigmas[index + 1]! - sigma;
        return { prevSample: add(sample, mul(modelOutput, by)), predOriginalSample };
      }
      const by = sigma - this.sigmas[index - 1]!;
      const mean = mul(add(prediction.velocity, modelOutput), 0.5);
      return { prevSample: add(prediction.sample, mul(mean, by)), predOriginalSample };
    });
    this.reset();
    const starts = !completes && index + 2 < this.sigmas.length;
    if (starts) this.prediction = { index, sample: remember(sample), velocity: remember(modelOutput) };
    return result;
  }
}
