import { copyStateDict, type Module, type StateDict } from "@md/nn";
import { assign, emaUpdate, mul, noGrad, scope, tensor, type Tensor } from "@md/tensor";

/**
 * Exponential moving average of a module's whole state: average ← d·average + (1 - d)·value, where
 * d = min(decay, (1 + step) / (10 + step)), so that the first steps do not weigh on a short run (as in diffusers'
 * `EMAModel` and TensorFlow). Buffers of floats, as the running statistics of batch norm, are averaged like parameters,
 * since they belong to weights that lie as far back; other buffers are the module's own (as in PyTorch's `AveragedModel`
 * with `use_buffers` and timm's `ModelEmaV2`). Frees its state with `dispose()`.
 */
export class Ema {
  private readonly averages = new Map<string, Tensor>();

  /** @param decay from 0 to below 1; 0.995 averages over about the last 200 steps */
  constructor(
    private readonly module: Module,
    private readonly decay: number,
  ) {
    const copies = new Map<Tensor, Tensor>();
    for (const [name, value] of module.stateDict()) {
      if (!copies.has(value)) copies.set(value, copyOf(value));
      this.averages.set(name, copies.get(value)!);
    }
  }

  /** @param step optimiser steps done, from 1 */
  update(step: number): void {
    const pairs = this.pairs();
    const floats = pairs.filter(([, value]) => isFloat(value));
    emaUpdate(
      floats.map(([average]) => average),
      floats.map(([, value]) => value),
      Math.min(this.decay, (1 + step) / (10 + step)),
    );
    for (const [average, value] of pairs) if (!isFloat(value)) assign(average, value);
  }

  /** Runs `body` while the module has the averaged state, then gives it its own back, to the bit. */
  async withAverages<T>(body: () => Promise<T>): Promise<T> {
    const pairs = this.pairs();
    const own = pairs.map(([, value]) => copyOf(value));
    for (const [average, value] of pairs) assign(value, average);
    try {
      return await body();
    } finally {
      pairs.forEach(([, value], i) => assign(value, own[i]!));
      for (const copy of own) copy.dispose();
    }
  }

  /** Averages by the names of the module's state; the averages themselves, not copies. */
  stateDict(): StateDict {
    return new Map(this.averages);
  }

  /** Copies a {@link stateDict} of the same module. StateDictError lists what does not fit; nothing is loaded then. */
  loadStateDict(dict: ReadonlyMap<string, Tensor>): void {
    copyStateDict(this.stateDict(), dict);
  }

  dispose(): void {
    for (const average of new Set(this.averages.values())) average.dispose();
  }

  // Each average beside the module's value, once where the module shares it.
  private pairs(): [average: Tensor, value: Tensor][] {
    const state = this.module.stateDict();
    return [...new Map([...this.averages].map(([name, average]) => [average, state.get(name)!]))];
  }
}

const isFloat = ({ dtype }: Tensor): boolean => ["f32", "f64", "f16", "bf16"].includes(dtype);
const copyOf = (x: Tensor): Tensor =>
  (isFloat(x)
    ? noGrad(() => scope(() => mul(x, 1)))
    : tensor(x.data(), { shape: x.shape, dtype: x.dtype, device: x.device })
  ).keep();
