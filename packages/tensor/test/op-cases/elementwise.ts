import * as md from "../../src/index.js";
import { binaryKinds, type UnaryKind, unaryKinds } from "../../src/ops/elementwise.js";
import type { OpCase } from "../../src/index.js";

const unary: Record<
  UnaryKind,
  { run: (x: md.Tensor) => md.Tensor; f: (x: number) => number; range?: [number, number] }
> = {
  neg: { run: md.neg, f: (x) => -x },
  abs: { run: md.abs, f: Math.abs },
  exp: { run: md.exp, f: Math.exp, range: [-4, 4] },
  log: { run: md.log, f: Math.log, range: [0.1, 4] },
  sqrt: { run: md.sqrt, f: Math.sqrt, range: [0.1, 4] },
  rsqrt: { run: md.rsqrt, f: (x) => 1 / Math.sqrt(x), range: [0.1, 4] },
  sin: { run: md.sin, f: Math.sin, range: [-6, 6] },
  cos: { run: md.cos, f: Math.cos, range: [-6, 6] },
  tanh: { run: md.tanh, f: Math.tanh, range: [-4, 4] },
  sigmoid: { run: md.sigmoid, f: (x) => 1 / (1 + Math.exp(-x)), range: [-6, 6] },
  silu: { run: md.silu, f: (x) => x / (1 + Math.exp(-x)), range: [-6, 6] },
  relu: { run: md.relu, f: (x) => Math.max(x, 0) },
  gelu: { run: md.gelu, f: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)), range: [-3, 3] },
  geluTanh: {
    run: (x) => md.gelu(x, "tanh"),
    f: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
    range: [-3, 3],
  },
  erf: { run: md.erf, f: erf, range: [-3, 3] },
  softplus: { run: md.softplus, f: (x) => Math.log1p(Math.exp(x)), range: [-6, 6] },
  square: { run: md.square, f: (x) => x * x },
  reciprocal: { run: md.reciprocal, f: (x) => 1 / x, range: [0.2, 2] },
  sign: { run: md.sign, f: Math.sign },
  floor: { run: md.floor, f: Math.floor, range: [-3, 3] },
  ceil: { run: md.ceil, f: Math.ceil, range: [-3, 3] },
  trunc: { run: md.trunc, f: Math.trunc, range: [-3, 3] },
  round: { run: md.round, f: Math.round, range: [-3, 3] },
  leakyRelu: { run: (x) => md.leakyRelu(x, 0.1), f: (x) => (x > 0 ? x : 0.1 * x) },
  clamp: { run: (x) => md.clamp(x, { min: -0.4, max: 0.3 }), f: (x) => Math.min(Math.max(x, -0.4), 0.3) },
  powScalar: { run: (x) => md.pow(x, 2.5), f: (x) => x ** 2.5, range: [0.1, 2] },
  addScalar: { run: (x) => md.add(x, 0.25), f: (x) => x + 0.25 },
  mulScalar: { run: (x) => md.mul(x, -1.5), f: (x) => x * -1.5 },
  isFinite: { run: md.isFinite, f: () => 1 },
  logicalNot: { run: md.logicalNot, f: (x) => 1 - x },
};

// Abramowitz & Stegun 7.1.5: the Maclaurin series, exact enough for |x| <= 3.
function erf(x: number): number {
  let term = x;
  let total = x;
  for (let n = 1; n < 80; n++) {
    term *= (-x * x) / n;
    total += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
}

const binary: Record<(typeof binaryKinds)[number], (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow: (a, b) => a ** b,
  maximum: Math.max,
  minimum: Math.min,
  eq: (a, b) => Number(a === b),
  ne: (a, b) => Number(a !== b),
  lt: (a, b) => Number(a < b),
  le: (a, b) => Number(a <= b),
  gt: (a, b) => Number(a > b),
  ge: (a, b) => Number(a >= b),
  logicalAnd: (a, b) => a & b,
  logicalOr: (a, b) => a | b,
};
const differentiable = new Set(["add", "sub", "mul", "div", "pow", "maximum", "minimum"]);
// Piecewise constant: their gradient is none.
const withoutGradient = new Set(["sign", "floor", "ceil", "round", "trunc", "isFinite", "logicalNot"]);

export const elementwiseCases: OpCase[] = [
  ...unaryKinds.map((kind): OpCase => {
    const { run, f, range } = unary[kind];
    return {
      primitives: withoutGradient.has(kind) ? [kind] : [kind, "unaryGrad"],
      name: kind,
      inputs: [{ shape: [3, 1, 37], ...(kind === "logicalNot" ? { dtype: "bool" } : {}), ...(range ? { range } : {}) }],
      run,
      reference: (x) => x.map(f),
      gradient: !withoutGradient.has(kind),
    };
  }),
  ...binaryKinds.flatMap((kind): OpCase[] => {
    const logic = kind.startsWith("logical");
    const operand = logic ? { dtype: "bool" as const } : { range: [0.2, 2] as const };
    const run = (a: md.Tensor, b: md.Tensor): md.Tensor => md[kind](a, b);
    const f = binary[kind];
    return [
      {
        primitives: [kind],
        name: `${kind} same shape`,
        inputs: [
          { shape: [5, 7], ...operand },
          { shape: [5, 7], ...operand },
        ],
        run,
        reference: (a, b) => a.map((x, i) => f(x, b[i]!)),
        gradient: differentiable.has(kind),
      },
      {
        primitives: [kind],
        name: `${kind} broadcast row and column`,
        inputs: [
          { shape: [4, 1, 3], ...operand },
          { shape: [2, 1], ...operand },
        ],
        run,
        reference: (a, b) =>
          Array.from({ length: 24 }, (_, i) => f(a[Math.floor(i / 6) * 3 + (i % 3)]!, b[Math.floor(i / 3) % 2]!)),
        gradient: differentiable.has(kind),
      },
    ];
  }),
  {
    primitives: ["where"],
    name: "where broadcast",
    inputs: [{ shape: [4, 3], dtype: "bool" }, { shape: [3] }, { shape: [4, 1] }],
    run: md.where,
    reference: (c, a, b) => c.map((on, i) => (on ? a[i % 3]! : b[Math.floor(i / 3)]!)),
  },
  {
    primitives: ["cast"],
    name: "cast to i32 truncates",
    inputs: [{ shape: [9], range: [-5, 5] }],
    run: (x) => md.cast(x, "i32"),
    reference: (x) => x.map(Math.trunc),
    gradient: false,
  },
];
