import { cat, cos, sin, tensor, type Tensor } from "@md/tensor";
import type { Field } from "./config.js";

/** A box in the world frame, metres. */
export interface PositionBounds {
  readonly min: readonly number[];
  readonly max: readonly number[];
}

const triple = (value: unknown): boolean => Array.isArray(value) && value.length === 3 && value.every(Number.isFinite);
export const positionBounds: Field<PositionBounds> = {
  default: { min: [-1, -1, -1], max: [1, 1, 1] },
  expected: "{min, max} of three numbers each, min below max",
  accepts: (value) => {
    const { min, max } = (value ?? {}) as { min?: number[]; max?: number[] };
    return triple(min) && triple(max) && min!.every((low, axis) => low < max![axis]!);
  },
};

/** Maps world positions in metres to [-1, 1] an axis and back. */
export class PositionNormalizer {
  /** Middle of the bounds, metres. */
  readonly center: readonly number[];
  private readonly halfExtent: number[];

  constructor({ min, max }: PositionBounds) {
    this.center = min.map((low, axis) => (low + max[axis]!) / 2);
    this.halfExtent = min.map((low, axis) => (max[axis]! - low) / 2);
  }

  /** [..., 3] metres to [-1, 1]; points outside of the bounds lie beyond. */
  normalize(position: Tensor): Tensor {
    return position.sub(this.row(this.center, position)).div(this.row(this.halfExtent, position));
  }

  /** The inverse of {@link normalize}. */
  denormalize(position: Tensor): Tensor {
    return position.mul(this.row(this.halfExtent, position)).add(this.row(this.center, position));
  }

  /** [..., 3] metres from the centre of the bounds: where rotary angles are 0. */
  centered(position: Tensor): Tensor {
    return position.sub(this.row(this.center, position));
  }

  private row(values: readonly number[], like: Tensor): Tensor {
    return tensor([...values], { dtype: like.dtype, device: like.device });
  }
}

/** [x, sin(2^k π x), cos(2^k π x)] for k = 0 … frequencies-1 (NeRF, Eq. 4): [..., 3] to [..., 3 + 6·frequencies]. */
export function positionFeatures(x: Tensor, frequencies: number): Tensor {
  const bands = tensor(
    Array.from({ length: frequencies }, (_, k) => 2 ** k * Math.PI),
    { dtype: x.dtype, device: x.device },
  );
  const angles = x.unsqueeze(-1).mul(bands).flatten(-2);
  return cat([x, sin(angles), cos(angles)], -1);
}

export const positionFeatureDim = (frequencies: number): number => 3 + 6 * frequencies;
