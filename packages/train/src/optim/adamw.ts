import { copyStateDict, type Parameter, type StateDict } from "@md/nn";
import { adamwStep, tensor, type Tensor, ValueError, zerosLike } from "@md/tensor";

export interface AdamWOptions {
  /** Default 1e-3. */
  learningRate?: number;
  /** Decay rates of the running means of gradient and squared gradient. Default [0.9, 0.98]. */
  betas?: readonly [number, number];
  /** Default 1e-8. */
  epsilon?: number;
  /** Share of the weights, times the learning rate, that every step takes away. Default 0.01. */
  weightDecay?: number;
}

/** Running means of one parameter's gradient and squared gradient. */
interface Moments {
  parameter: Parameter;
  expAvg: Tensor;
  expAvgSq: Tensor;
}

/**
 * AdamW (Loshchilov & Hutter, 2019): Adam with bias correction and weight decay apart from the gradient, as
 * `torch.optim.AdamW`. Parameters without a gradient are left alone. Frees its state with `dispose()`.
 */
export class AdamW {
  /** Steps done. */
  private steps = 0;
  private readonly moments = new Map<string, Moments>();
  private readonly options: Required<AdamWOptions>;

  /** @param parameters by name, as a module's `namedParameters()` gives them */
  constructor(parameters: ReadonlyMap<string, Parameter>, options: AdamWOptions = {}) {
    this.options = { learningRate: 1e-3, betas: [0.9, 0.98], epsilon: 1e-8, weightDecay: 0.01, ...options };
    for (const [name, parameter] of parameters) {
      const [expAvg, expAvgSq] = [zerosLike(parameter).keep(), zerosLike(parameter).keep()];
      this.moments.set(name, { parameter, expAvg, expAvgSq });
    }
  }

  /**
   * Updates the parameters in place from their gradients. `learningRate` is that of this step alone; gradients are
   * multiplied by `gradScale` on their way in.
   */
  step(learningRate = this.options.learningRate, gradScale = 1): void {
    const { betas, epsilon, weightDecay } = this.options;
    const updated = [...this.moments.values()].filter(({ parameter }) => parameter.grad !== null);
    this.steps++;
    adamwStep(
      {
        parameters: updated.map(({ parameter }) => parameter),
        grads: updated.map(({ parameter }) => parameter.grad!),
        expAvgs: updated.map(({ expAvg }) => expAvg),
        expAvgSqs: updated.map(({ expAvgSq }) => expAvgSq),
      },
      { lr: learningRate, betas, eps: epsilon, weightDecay, step: this.steps, gradScale },
    );
  }

  /** `expAvg.NAME` and `expAvgSq.NAME` of every parameter (the optimiser's own tensors), and `step` as i64 [1]. */
  stateDict(): StateDict {
    return this.momentsDict().set("step", tensor([this.steps], { dtype: "i64" }));
  }

  private momentsDict(): StateDict {
    const dict: StateDict = new Map();
    for (const [name, { expAvg, expAvgSq }] of this.moments) {
      dict.set(`expAvg.${name}`, expAvg).set(`expAvgSq.${name}`, expAvgSq);
    }
    return dict;
  }

  /** Copies a {@link stateDict} of the same parameters. StateDictError lists what does not fit; nothing is loaded then. */
  loadStateDict(dict: ReadonlyMap<string, Tensor>): void {
    const moments = new Map(dict);
    const steps = moments.get("step")?.item();
    if (steps === undefined || !Number.isSafeInteger(steps) || steps < 0) {
      throw new ValueError(`[AdamW] step is ${steps}, expected a count`);
    }
    moments.delete("step");
    copyStateDict(this.momentsDict(), moments);
    this.steps = steps;
  }

  dispose(): void {
    for (const { expAvg, expAvgSq } of this.moments.values()) {
      expAvg.dispose();
      expAvgSq.dispose();
    }
  }
}
