import { type DType, isFloat, isHalf } from "./dtype.js";
import { cast } from "./ops/elementwise.js";
import type { Tensor } from "./tensor.js";

/**
 * Floats of which some are f16 or bf16, in one dtype as PyTorch promotes them: f64 where there is one, else f32 unless all
 * have the same. Other mixtures are left for the op to refuse.
 */
export function promote<T extends readonly Tensor[]>(...tensors: T): T {
  const [first, ...others] = tensors;
  if (!first || others.every(({ dtype }) => dtype === first.dtype)) return tensors;
  if (!tensors.some(({ dtype }) => isHalf(dtype)) || !tensors.every(({ dtype }) => isFloat(dtype))) return tensors;
  const widest: DType = tensors.some(({ dtype }) => dtype === "f64") ? "f64" : "f32";
  return tensors.map((x) => (x.dtype === widest ? x : cast(x, widest))) as readonly Tensor[] as T;
}
