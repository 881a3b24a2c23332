import { native } from "@md/native";
import { autocastDType, lowered } from "../autocast.js";
import { isRecorded } from "../autograd.js";
import { execute, executeAll, executeWanted } from "../primitives.js";
import type { Tensor } from "../tensor.js";
import { codeOf } from "./code-of.js";
import { add } from "./elementwise.js";

/** In the order of `enum class Activation` in native/ops/matmul/op.h. */
export const activations = ["none", "relu", "gelu", "geluTanh", "silu"] as const;
/** What {@link linear} applies to its result; "gelu" is the exact one, "geluTanh" its tanh form. */
export type Activation = (typeof activations)[number];

export interface MatmulAttrs {
  matmul: object;
  /** Without an activation, or without a gradient. */
  linear: object;
  linearActivation: { activation: Activation };
  linearGrad: object;
}

/**
 * Matrix product, as PyTorch's: a [..., m, k] and b [..., k, n] give [..., m, n], leading axes broadcast. A vector is a
 * row on the left and a column on the right; its axis is dropped from the result. Strided operands (transposed,
 * permuted, expanded) are read in place. Any float.
 *
 * @throws ShapeError, DTypeError
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  [a, b] = lowered(a, b);
  return execute("matmul", [a, b], {}, () => native.matmul(a.slot, b.slot));
}

export interface LinearCallOptions {
  /** Default "none". */
  activation?: Activation;
  /** Added to the result, [..., out]. In autocast, one of another dtype is added afterwards, as {@link add} does. */
  residual?: Tensor | null;
}

/**
 * residual + act(x weightᵀ + bias) in one pass over the result: x is [..., in], weight [out, in], bias [out] or absent; any
 * float. Where a gradient will be wanted, the derivative of the activation is computed and kept with it; relu keeps its
 * result instead, but beside a residual.
 *
 * @throws ShapeError, DTypeError
 */
export function linear(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  { activation = "none", residual = null }: LinearCallOptions = {},
): Tensor {
  [x, weight, bias] = lowered(x, weight, bias);
  // A residual stream that is kept in f32 stays so.
  if (residual && residual.dtype !== x.dtype && autocastDType() !== "f32")
    return add(residual, linear(x, weight, bias, { activation }));
  const operands = [x, weight, bias, residual];
  const code = codeOf("linear", "activation", activations, activation);
  const run = (save: boolean) => () =>
    native.linear(x.slot, weight.slot, bias?.slot ?? -1, residual?.slot ?? -1, code, save);
  if (activation === "none" || !isRecorded(operands)) return execute("linear", operands, {}, run(false));
  const [y, saved] = executeAll("linearActivation", operands, { activation }, 2, run(true));
  saved!.dispose();
  return y!;
}

/**
 * Gradients of x, weight, bias and residual for the cotangent `grad`, null where not wanted; `saved` is null without an
 * activation. `earlier` is added to that of x.
 */
export function linearGrad(
  [x, weight]: readonly (Tensor | null)[],
  saved: Tensor | null,
  grad: Tensor,
  earlier: Tensor | null,
  activation: Activation,
  needs: readonly boolean[],
): (Tensor | null)[] {
  const code = activations.indexOf(activation);
  const [ofX, ofWeight, ofBias, ofResidual] = needs as [boolean, boolean, boolean, boolean];
  const run = (): void => {
    const [s, e] = [saved?.slot ?? -1, earlier?.slot ?? -1];
    native.linearGrad(x!.slot, weight!.slot, s, grad.slot, e, code, ofX, ofWeight, ofBias);
  };
  const operands = [x!, weight!, saved, grad, earlier];
  return [...executeWanted("linearGrad", operands, {}, [ofX, ofWeight, ofBias], run), ofResidual ? grad : null];
}
