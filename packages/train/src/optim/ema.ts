import { copyStateDict, type Module, type StateDict } from "@md/nn";
import { assign, emaUpdate, mul, noGrad, scope, type Tensor } from "@md/tensor";

/**
 * Exponential moving average of a module's parameters: average ← d·average + (1 - d)·parameter, where
 * d = min(decay, (1 + step) / (10 + step)), so that the first steps do not weigh on a short run (as in diffusers'
 * `EMAModel` and TensorFlow). Buffers are not averaged. Frees its state with `dispose()`.
 */
export class Ema {
  private readonly averages = new Map<string, Tensor>();

  /** @param decay from 0 to below 1; 0.995 averages over about the last 200 steps */
  constructor(
    private readonly module: Module,
    private readonly decay: number,
  ) {
    for (const [name, parameter] of module.namedParameters()) this.averages.set(name, copyOf(parameter));
  }

  /** @param step optimiser steps done, from 1 */
  update(step: number): void {
    const parameters = this.module.namedParameters();
    const pairs = [...this.averages].map(([name, average]) => [average, parameters.get(name)!] as const);
    emaUpdate(
      pairs.map(([average]) => average),
      pairs.map(([, parameter]) => parameter),
      Math.min(this.decay, (1 + step) / (10 + step)),
    );
  }

  /** Runs `body` while the module has the averaged parameters, then gives it its own back, to the bit. */
  async withAverages<T>(body: () => Promise<T>): Promise<T> {
    const parameters = this.module.namedParameters();
    const own = [...parameters.values()].map(copyOf);
    for (const [name, average] of this.averages) assign(parameters.get(name)!, average);
    try {
      return await body();
    } finally {
      [...parameters.values()].forEach((parameter, i) => assign(parameter, own[i]!));
      for (const copy of own) copy.dispose();
    }
  }

  /** Averages by the parameters' names; the averages themselves, not copies. */
  stateDict(): StateDict {
    return new Map(this.averages);
  }

  /** Copies a {@link stateDict} of the same module. StateDictError lists what does not fit; nothing is loaded then. */
  loadStateDict(dict: ReadonlyMap<string, Tensor>): void {
    copyStateDict(this.stateDict(), dict);
  }

  dispose(): void {
    for (const average of this.averages.values()) average.dispose();
  }
}

const copyOf = (x: Tensor): Tensor => noGrad(() => scope(() => mul(x, 1))).keep();
