import { native } from "@md/native";
import { execute } from "../primitives.js";
import type { Generator, GeneratorState } from "../random.js";
import type { Tensor } from "../tensor.js";

export interface DropoutAttrs {
  dropout: GeneratorState & { p: number };
}

/** The elements that a draw from `state` keeps, over 1 - p: linear in x, hence its own gradient. */
export function dropoutFrom(x: Tensor, attrs: DropoutAttrs["dropout"]): Tensor {
  return execute("dropout", [x], attrs, () => native.dropout(x.slot, attrs.p, attrs.seed, attrs.offset));
}

/**
 * Each element 0 with probability p, else divided by 1 - p (Srivastava et al., 2014); f32 and f64. Nothing is saved: the
 * gradient draws the same numbers again. p = 0 gives x itself and draws nothing. ValueError unless 0 <= p < 1.
 */
export function dropout(x: Tensor, p: number, generator: Generator): Tensor {
  return p === 0 ? x : dropoutFrom(x, { p, ...generator.take(x.size, 4) });
}
