import { add, mul, type Tensor } from "@md/tensor";
import { type FlowMatchConfig, flowFromDiffusers, FlowMatchScheduler } from "./flow-match.js";
import { runStep, type StepResult, visitedIndex } from "./step.js";

/** Flow matching by Euler's method, with the numbers of diffusers' `FlowMatchEulerDiscreteScheduler`. */
export class FlowMatchEulerDiscreteScheduler extends FlowMatchScheduler {
  /** From parsed JSON; absent keys take their defaults. ValueError as the constructor. */
  static fromConfig(json: unknown): FlowMatchEulerDiscreteScheduler {
    return new FlowMatchEulerDiscreteScheduler(json as Partial<FlowMatchConfig>);
  }

  /** From a `scheduler_config.json` of diffusers. ValueError for what is unknown or not supported. */
  static fromDiffusers(json: Readonly<Record<string, unknown>>): FlowMatchEulerDiscreteScheduler {
    return FlowMatchEulerDiscreteScheduler.fromConfig(flowFromDiffusers("FlowMatchEulerDiscreteScheduler", json));
  }

  protected evaluations(steps: readonly number[]): number[] {
    return [...steps];
  }

  /**
   * x' = x + (σ' - σ)·v, without gradients.
   *
   * @param modelOutput the predicted velocity v for `sample` at `timestep`, any shape, f32 or f64
   * @param timestep one of `timesteps`
   * @param sample like `modelOutput`
   * @throws ShapeError, DTypeError; ValueError for a timestep not visited
   */
  step(modelOutput: Tensor, timestep: number, sample: Tensor): StepResult {
    const op = "FlowMatchEulerDiscreteScheduler.step";
    const index = visitedIndex(op, this.timesteps, timestep);
    const [sigma, next] = [this.sigmas[index]!, this.sigmas[index + 1]!];
    return runStep(op, modelOutput, sample, () => ({
      prevSample: add(sample, mul(modelOutput, next - sigma)),
      predOriginalSample: add(sample, mul(modelOutput, -sigma)),
    }));
  }
}
