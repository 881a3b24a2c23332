import { copyStateDict, type Parameter, type StateDict } from "@md/nn";
import {
  adamwStep,
  assign,
  full,
  scope,
  tensor,
  type Tensor,
  UnsupportedError,
  ValueError,
  zeros,
  zerosLike,
} from "@md/tensor";

export interface AdamWOptions {
  /** Default 1e-3. */
  learningRate?: number;
  /** Decay rates of the running means of gradient and squared gradient. Default [0.9, 0.98]. */
  betas?: readonly [number, number];
  /** Default 1e-8. */
  epsilon?: number;
  /** Share of the weights, times the learning rate, that every step takes away. Default 0.01. */
  weightDecay?: number;
  /**
   * Counts the steps where the parameters lie, so that `step()` can be part of a `CudaGraph`, as
   * `torch.optim.AdamW(capturable=True)`. Default false.
   */
  capturable?: boolean;
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
  /** Steps done, unless they are counted on the device. */
  private steps = 0;
  /** Of a capturable one, i64 []. */
  private readonly count: Tensor | null;
  private readonly moments = new Map<string, Moments>();
  private readonly options: Required<AdamWOptions>;

  /** @param parameters by name, as a module's `namedParameters()` gives them */
  constructor(parameters: ReadonlyMap<string, Parameter>, options: AdamWOptions = {}) {
    this.options = {
      learningRate: 1e-3,
      betas: [0.9, 0.98],
      epsilon: 1e-8,
      weightDecay: 0.01,
      capturable: false,
      ...options,
    };
    for (const [name, parameter] of parameters) {
      const [expAvg, expAvgSq] = [zerosLike(parameter).keep(), zerosLike(parameter).keep()];
      this.moments.set(name, { parameter, expAvg, expAvgSq });
    }
    const [device] = Array.from(parameters.values(), (parameter) => parameter.device);
    this.count = this.options.capturable ? zeros([], { dtype: "i64", device }).keep() : null;
  }

  /**
   * Updates the parameters in place from their gradients. `learningRate` is that of this step alone; gradients are
   * multiplied by `gradScale` on their way in.
   *
   * A capturable one takes tensors f64 [] too, and reads them as it steps: a replay of the step takes what they hold then,
   * and numbers as they were. Where one is not finite nothing changes, and the host gets a ValueError when it next waits.
   *
   * @throws UnsupportedError for tensors, or while a graph is captured, unless it is capturable
   */
  step(learningRate: number | Tensor = this.options.learningRate, gradScale: number | Tensor = 1): void {
    const { betas, epsilon: eps, weightDecay } = this.options;
    const updated = [...this.moments.values()].filter(({ parameter }) => parameter.grad !== null);
    const state = {
      parameters: updated.map(({ parameter }) => parameter),
      grads: updated.map(({ parameter }) => parameter.grad!),
      expAvgs: updated.map(({ expAvg }) => expAvg),
      expAvgSqs: updated.map(({ expAvgSq }) => expAvgSq),
    };
    const { count } = this;
    if (count) {
      const scalar = (x: number | Tensor): Tensor =>
        typeof x === "number" ? full([], x, { dtype: "f64", device: count.device }) : x;
      scope(() => {
        const [lr, scale] = [scalar(learningRate), scalar(gradScale)];
        adamwStep(state, { betas, eps, weightDecay, lr, step: count, gradScale: scale });
      });
    } else if (typeof learningRate === "number" && typeof gradScale === "number") {
      adamwStep(state, { betas, eps, weightDecay, lr: learningRate, step: this.steps + 1, gradScale });
      this.steps++;
    } else {
      throw new UnsupportedError(
        "[AdamW] found a tensor as learning rate or gradient scale, expected capturable: true",
      );
    }
  }

  /** `expAvg.NAME` and `expAvgSq.NAME` of every parameter (the optimiser's own tensors), and `step` as i64 [1]. */
  stateDict(): StateDict {
    return this.momentsDict().set("step", tensor([this.count?.item() ?? this.steps], { dtype: "i64" }));
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
    const { count } = this;
    if (count) scope(() => assign(count, full([], steps, { dtype: "i64", device: count.device })));
  }

  dispose(): void {
    this.count?.dispose();
    for (const { expAvg, expAvgSq } of this.moments.values()) {
      expAvg.dispose();
      expAvgSq.dispose();
    }
  }
}
