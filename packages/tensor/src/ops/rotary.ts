import { native } from "@md/native";
import { execute } from "../primitives.js";
import { promote } from "../promote.js";
import type { Tensor } from "../tensor.js";

export interface RotaryAttrs {
  rotaryTable: object;
  applyRotary: { inverse: boolean };
}

export interface RotaryOptions {
  /** Factor of the coordinates: radians a unit of xyz at the highest frequency. Default 1. */
  scale?: number;
  /** Base of the frequencies. Default 10000. */
  base?: number;
}

/**
 * Cosines and sines for {@link applyRotary}: xyz [..., tokens, 3], f32 or f64 -> [..., tokens, 3·⌊headDim/6⌋, 2]. The
 * angle of pair j of an axis is scale · coordinate · base^(-2j / (D/3)) with D = 6·⌊headDim/6⌋. One table serves queries,
 * keys and every layer. No gradient flows to xyz.
 */
export const rotaryTable = (xyz: Tensor, headDim: number, { scale = 1, base = 10000 }: RotaryOptions = {}): Tensor =>
  execute("rotaryTable", [xyz], {}, () => native.rotaryTable(xyz.slot, headDim, scale, base));

/**
 * Rotates x [..., tokens, headDim] by a table: adjacent channels (2j, 2j + 1), a third of the rotated channels for each
 * of x, y, z; channels beyond 6·⌊headDim/6⌋ pass. Leading axes of the table broadcast; a table [batch, tokens, …] serves
 * all heads of x [batch, heads, tokens, headDim]. The memory order is that of x. The gradient to x is the rotation back.
 */
export const applyRotary = (x: Tensor, table: Tensor): Tensor => rotate(x, table, false);

/** {@link applyRotary} by the negative angles. */
export const applyRotaryInverse = (x: Tensor, table: Tensor): Tensor => rotate(x, table, true);

function rotate(x: Tensor, table: Tensor, inverse: boolean): Tensor {
  [x, table] = promote(x, table);
  return execute("applyRotary", [x, table], { inverse }, () => native.applyRotary(x.slot, table.slot, inverse));
}

/**
 * 3D rotary position embedding (Su et al., "RoFormer", 2021, on three axes) of x [..., tokens, headDim] at positions
 * xyz [..., tokens, 3]; xyz [batch, tokens, 3] serves all heads of x [batch, heads, tokens, headDim]. The dot product of
 * two embedded vectors depends on the difference of their positions. No gradient flows to xyz.
 */
export const rotaryEmbedding3d = (x: Tensor, xyz: Tensor, options?: RotaryOptions): Tensor =>
  applyRotary(x, rotaryTable(xyz, x.shape.at(-1) ?? 0, options));
