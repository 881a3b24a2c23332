import { alias, gradEnabled, record, type Saved } from "./autograd.js";
import type { HalfDType } from "./dtype.js";
import { cast } from "./ops/elementwise.js";
import type { Handle, Tensor } from "./tensor.js";

/** Parameters in a low dtype, each cast once: by what holds the parameter's elements. */
export class CastCache {
  private readonly casts = new Map<Handle, Saved[]>();

  /** @param outer is looked into, too, but not added to */
  constructor(private readonly outer: CastCache | null = null) {}

  /** Each use has a node of its own: the gradients of several are added in the dtype of x, as they are without a cache. */
  cast(x: Tensor, dtype: HalfDType): Tensor {
    const found = this.find(x.resource, dtype);
    if (found) {
      const again = alias(found);
      if (gradEnabled()) record("cast", [x], { dtype: x.dtype }, [again]);
      return again;
    }
    const made = cast(x, dtype);
    const { resource, shape, device } = made;
    this.casts.set(x.resource, [
      ...(this.casts.get(x.resource) ?? []),
      { resource: resource.retain(), shape, dtype, device },
    ]);
    return made;
  }

  /** Drops the copies of `x`. */
  forget(x: Tensor): void {
    for (const copy of this.casts.get(x.resource) ?? []) copy.resource.release();
    this.casts.delete(x.resource);
    this.outer?.forget(x);
  }

  release(): void {
    for (const copy of [...this.casts.values()].flat()) copy.resource.release();
    this.casts.clear();
  }

  private find(resource: Handle, dtype: HalfDType): Saved | undefined {
    return this.casts.get(resource)?.find((copy) => copy.dtype === dtype) ?? this.outer?.find(resource, dtype);
  }
}
