import { DTypeError, native } from "@md/native";
import { raised } from "../autocast.js";
import { type DType, dtypeCode, isFloat } from "../dtype.js";
import { promote } from "../promote.js";
import { execute } from "../primitives.js";
import type { Tensor } from "../tensor.js";
import { codeOf } from "./code-of.js";

/** In the order of `enum class Unary` in native/ops/elementwise/op.h. */
export const unaryKinds = [
  "neg",
  "abs",
  "exp",
  "log",
  "sqrt",
  "rsqrt",
  "sin",
  "cos",
  "tanh",
  "sigmoid",
  "silu",
  "relu",
  "gelu",
  "geluTanh",
  "erf",
  "softplus",
  "square",
  "reciprocal",
  "sign",
  "floor",
  "ceil",
  "round",
  "trunc",
  "leakyRelu",
  "clamp",
  "powScalar",
  "addScalar",
  "mulScalar",
  "isFinite",
  "logicalNot",
] as const;
export type UnaryKind = (typeof unaryKinds)[number];

/** In the order of `enum class Binary` in native/ops/elementwise/op.h. */
export const binaryKinds = [
  "add",
  "sub",
  "mul",
  "div",
  "pow",
  "maximum",
  "minimum",
  "eq",
  "ne",
  "lt",
  "le",
  "gt",
  "ge",
  "logicalAnd",
  "logicalOr",
] as const;
export type BinaryKind = (typeof binaryKinds)[number];

/** The scalars of a unary op: slope, bounds, exponent, addend or factor. */
export interface UnaryAttrs {
  a: number;
  b: number;
}
export type ElementwiseAttrs = { [K in UnaryKind]: UnaryAttrs } & { [K in BinaryKind]: object } & {
  unaryGrad: object;
  where: object;
  cast: { dtype: DType };
};

const unaryCode = Object.fromEntries(unaryKinds.map((kind, code) => [kind, code])) as Record<UnaryKind, number>;
const binaryCode = Object.fromEntries(binaryKinds.map((kind, code) => [kind, code])) as Record<BinaryKind, number>;
const noAttrs = {};

/** Those that autocast computes in f32, where f16 and bf16 would lose too much. */
const raisedKinds: ReadonlySet<string> = new Set<UnaryKind | BinaryKind>([
  "exp",
  "log",
  "rsqrt",
  "softplus",
  "reciprocal",
  "powScalar",
  "pow",
]);

function unary(kind: UnaryKind, x: Tensor, a = 0, b = 0): Tensor {
  if (raisedKinds.has(kind)) [x] = raised(x);
  return execute(kind, [x], { a, b }, () => native.unary(unaryCode[kind], x.slot, a, b));
}

/** grad · f'(x) in one pass; the gradient rules of the unary ops are made of it. */
export function unaryGrad(kind: UnaryKind, x: Tensor, grad: Tensor, { a, b }: UnaryAttrs): Tensor {
  return execute("unaryGrad", [x, grad], noAttrs, () => native.unaryGrad(unaryCode[kind], x.slot, grad.slot, a, b));
}

function binary(kind: BinaryKind, a: Tensor, b: Tensor): Tensor {
  [a, b] = raisedKinds.has(kind) ? raised(a, b) : promote(a, b);
  return execute(kind, [a, b], noAttrs, () => native.binary(binaryCode[kind], a.slot, b.slot));
}

export const neg = (x: Tensor): Tensor => unary("neg", x);
/** |x|; its derivative at 0 is 0. */
export const abs = (x: Tensor): Tensor => unary("abs", x);
export const exp = (x: Tensor): Tensor => unary("exp", x);
/** Natural logarithm. */
export const log = (x: Tensor): Tensor => unary("log", x);
export const sqrt = (x: Tensor): Tensor => unary("sqrt", x);
export const rsqrt = (x: Tensor): Tensor => unary("rsqrt", x);
export const sin = (x: Tensor): Tensor => unary("sin", x);
export const cos = (x: Tensor): Tensor => unary("cos", x);
export const tanh = (x: Tensor): Tensor => unary("tanh", x);
export const sigmoid = (x: Tensor): Tensor => unary("sigmoid", x);
/** x · sigmoid(x) */
export const silu = (x: Tensor): Tensor => unary("silu", x);
export const relu = (x: Tensor): Tensor => unary("relu", x);
const geluForms = ["none", "tanh"] as const;
/** Exact GELU, or its tanh form (Hendrycks & Gimpel, 2016). */
export const gelu = (x: Tensor, approximate: (typeof geluForms)[number] = "none"): Tensor =>
  unary(codeOf("gelu", "approximate", geluForms, approximate) === 0 ? "gelu" : "geluTanh", x);
export const erf = (x: Tensor): Tensor => unary("erf", x);
/** log(1 + e^x) */
export const softplus = (x: Tensor): Tensor => unary("softplus", x);
export const square = (x: Tensor): Tensor => unary("square", x);
export const reciprocal = (x: Tensor): Tensor => unary("reciprocal", x);
/** -1, 0 or 1; no gradient. */
export const sign = (x: Tensor): Tensor => unary("sign", x);
export const floor = (x: Tensor): Tensor => unary("floor", x);
export const ceil = (x: Tensor): Tensor => unary("ceil", x);
/** To the nearest integer, halves to even; no gradient. */
export const round = (x: Tensor): Tensor => unary("round", x);
/** To an integer towards 0; no gradient. */
export const trunc = (x: Tensor): Tensor => unary("trunc", x);
export const leakyRelu = (x: Tensor, negativeSlope = 0.01): Tensor => unary("leakyRelu", x, negativeSlope);
/** x held to [min, max]; the gradient passes where it was inside, bounds included. */
export const clamp = (x: Tensor, { min = -Infinity, max = Infinity }: { min?: number; max?: number }): Tensor =>
  unary("clamp", x, min, max);
/** True where x is neither infinite nor NaN. */
export const isFinite = (x: Tensor): Tensor => unary("isFinite", x);
/** True where x (bool) is false. */
export const logicalNot = (x: Tensor): Tensor => unary("logicalNot", x);

/** a + b, broadcast. */
export const add = (a: Tensor, b: Tensor | number): Tensor =>
  typeof b === "number" ? unary("addScalar", a, scalar("add", a, b)) : binary("add", a, b);
/** a - b, broadcast. */
export const sub = (a: Tensor, b: Tensor | number): Tensor =>
  typeof b === "number" ? unary("addScalar", a, -scalar("sub", a, b)) : binary("sub", a, b);
/** a · b elementwise, broadcast. */
export const mul = (a: Tensor, b: Tensor | number): Tensor =>
  typeof b === "number" ? unary("mulScalar", a, scalar("mul", a, b)) : binary("mul", a, b);
/** a / b elementwise, broadcast; f32 and f64. */
export const div = (a: Tensor, b: Tensor | number): Tensor => {
  if (typeof b !== "number") return binary("div", a, b);
  if (!isFloat(a.dtype)) throw new DTypeError(`[div] a has dtype ${a.dtype}, expected a float`);
  return unary("mulScalar", a, 1 / b);
};
/** a to the power of b; f32 and f64. */
export const pow = (a: Tensor, b: Tensor | number): Tensor =>
  typeof b === "number" ? unary("powScalar", a, b) : binary("pow", a, b);
/** The larger of both; where they are equal each gets half of the gradient. */
export const maximum = (a: Tensor, b: Tensor): Tensor => binary("maximum", a, b);
/** The smaller of both; where they are equal each gets half of the gradient. */
export const minimum = (a: Tensor, b: Tensor): Tensor => binary("minimum", a, b);
export const eq = (a: Tensor, b: Tensor): Tensor => binary("eq", a, b);
export const ne = (a: Tensor, b: Tensor): Tensor => binary("ne", a, b);
export const lt = (a: Tensor, b: Tensor): Tensor => binary("lt", a, b);
export const le = (a: Tensor, b: Tensor): Tensor => binary("le", a, b);
export const gt = (a: Tensor, b: Tensor): Tensor => binary("gt", a, b);
export const ge = (a: Tensor, b: Tensor): Tensor => binary("ge", a, b);
export const logicalAnd = (a: Tensor, b: Tensor): Tensor => binary("logicalAnd", a, b);
export const logicalOr = (a: Tensor, b: Tensor): Tensor => binary("logicalOr", a, b);

function scalar(op: string, x: Tensor, value: number): number {
  if (!isFloat(x.dtype) && !Number.isInteger(value))
    throw new DTypeError(`[${op}] found the scalar ${value}, expected an integer for ${x.dtype}`);
  return value;
}

/** Elementwise condition ? a : b; `condition` is bool, all three broadcast. */
export function where(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  [a, b] = promote(a, b);
  return execute("where", [condition, a, b], noAttrs, () => native.where(condition.slot, a.slot, b.slot));
}

/**
 * x in another dtype, as C converts: a float to an integer loses its fraction, anything to bool is "not 0"; f16 and bf16
 * get the nearest, halves to even, by way of f32: too large becomes infinity.
 * ValueError for a float that is not finite or does not fit the integer.
 */
export const cast = (x: Tensor, dtype: DType): Tensor =>
  execute("cast", [x], { dtype: x.dtype }, () => native.cast(x.slot, dtypeCode(dtype)));
