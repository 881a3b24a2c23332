import type { Parameter } from "@md/nn";
import { mul, noGrad, type Tensor, ValueError } from "@md/tensor";

export interface GradScalerOptions {
  /** Default 65536. */
  initialScale?: number;
  /** Of the scale after `growthInterval` steps in a row with finite gradients. Default 2. */
  growthFactor?: number;
  /** Of the scale after a step that was skipped. Default 0.5. */
  backoffFactor?: number;
  /** Default 2000. */
  growthInterval?: number;
}

/** What a checkpoint keeps of a {@link GradScaler}; plain JSON. */
export interface GradScalerState {
  scale: number;
  /** Steps with finite gradients since the scale last changed. */
  growthTracker: number;
  /** Steps skipped so far. */
  skipped: number;
}

/**
 * Loss scaling for f16, whose gradients would else vanish below 2^-24, as `torch.amp.GradScaler` (Micikevicius et al.,
 * "Mixed precision training", 2018): the loss is multiplied before `backward()`, the gradients are divided after it. A
 * step with a gradient that is not finite is left out, and the scale falls.
 */
export class GradScaler {
  private readonly options: Required<GradScalerOptions>;
  private current: GradScalerState;

  constructor(options: GradScalerOptions = {}) {
    this.options = { initialScale: 65536, growthFactor: 2, backoffFactor: 0.5, growthInterval: 2000, ...options };
    this.current = { scale: this.options.initialScale, growthTracker: 0, skipped: 0 };
  }

  get scale(): number {
    return this.current.scale;
  }
  get skipped(): number {
    return this.current.skipped;
  }

  /** The loss to call `backward()` on, f32. */
  scaleLoss(loss: Tensor): Tensor {
    return mul(loss, this.scale);
  }

  /** Divides the gradients by the scale; they are new tensors, since parameters may share the storage of one. */
  unscale(parameters: Iterable<Parameter>): void {
    noGrad(() => {
      for (const parameter of parameters) {
        const { grad } = parameter;
        if (!grad) continue;
        parameter.grad = mul(grad, 1 / this.scale).keep();
        grad.dispose();
      }
    });
  }

  /** The scale of the next step. `finite`: whether all gradients were, and so the step was done. */
  update(finite: boolean): void {
    const { growthFactor, backoffFactor, growthInterval } = this.options;
    const { scale, growthTracker, skipped } = this.current;
    if (!finite) this.current = { scale: scale * backoffFactor, growthTracker: 0, skipped: skipped + 1 };
    else if (growthTracker + 1 < growthInterval) this.current = { scale, growthTracker: growthTracker + 1, skipped };
    else this.current = { scale: scale * growthFactor, growthTracker: 0, skipped };
  }

  get state(): GradScalerState {
    return { ...this.current };
  }
  /** @throws ValueError for a scale that is not above 0, or what is no count */
  set state({ scale, growthTracker, skipped }: GradScalerState) {
    if (!(Number.isFinite(scale) && scale > 0))
      throw new ValueError(`[GradScaler] scale is ${scale}, expected a number above 0`);
    for (const [name, count] of Object.entries({ growthTracker, skipped })) {
      if (!(Number.isSafeInteger(count) && count >= 0))
        throw new ValueError(`[GradScaler] ${name} is ${count}, expected a count`);
    }
    this.current = { scale, growthTracker, skipped };
  }
}
