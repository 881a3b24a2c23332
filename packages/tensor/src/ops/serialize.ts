import { native, ValueError } from "@md/native";
import { executeAll } from "../primitives.js";
import type { Tensor } from "../tensor.js";
import { codeOf } from "./code-of.js";

export interface SerializeAttrs {
  serialize: object;
}

/** In the order of `enum class Curve` in native/ops/serialize/op.h. */
export const curves = ["z", "z-trans", "hilbert", "hilbert-trans"] as const;
/** A space-filling curve; "-trans" has x and y exchanged. */
export type Curve = (typeof curves)[number];

export interface Serialization {
  /** i64 [N]: batch · 2^(3·depth) + the place on the curve. */
  code: Tensor;
  /** i32 [N]: rows by rising code, equal ones in their own order. */
  order: Tensor;
  /** i32 [N]: the place of each row in `order`. */
  inverse: Tensor;
}

/**
 * The order in which a space-filling curve visits grid coordinates, item by item of a batch (Point Transformer V3,
 * Wu et al., 2024): neighbours in the order are mostly neighbours in space.
 *
 * @param coordinates [N, 3] i32: x, y, z, each 0 to 2^depth - 1
 * @param batch [N], i32 or i64: the item of each row, 0 to 2^(63 - 3·depth) - 1
 * @param options.curve default "z": bits of x, y and z interleaved, x's highest (Morton). "hilbert" makes no jumps; its
 * codes depend on `depth`
 * @param options.depth bits an axis, 1 to 16; default 16
 * @throws ValueError naming a row that is outside
 */
export function serialize(
  coordinates: Tensor,
  batch: Tensor,
  { curve = "z", depth = 16 }: { curve?: Curve; depth?: number } = {},
): Serialization {
  const code = codeOf("serialize", "curve", curves, curve);
  if (!Number.isInteger(depth)) throw new ValueError(`[serialize] depth is ${depth}, expected an integer`);
  const [codes, order, inverse] = executeAll("serialize", [coordinates, batch], {}, 3, () =>
    native.serialize(coordinates.slot, batch.slot, code, depth),
  );
  return { code: codes!, order: order!, inverse: inverse! };
}
