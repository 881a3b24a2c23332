import type { Rule } from "../autograd.js";
import { zerosLike } from "../ops/create.js";
import {
  add,
  type BinaryKind,
  cast,
  div,
  type ElementwiseAttrs,
  eq,
  gt,
  log,
  lt,
  mul,
  neg,
  pow,
  type UnaryAttrs,
  type UnaryKind,
  unaryGrad,
  where,
} from "../ops/elementwise.js";
import type { Tensor } from "../tensor.js";

type Rules<K extends keyof ElementwiseAttrs> = { [P in K]: Rule<ElementwiseAttrs[P]> | "nondiff" };

/** The kinds with a derivative in `unaryGrad` of the addon. */
const fromInput = (kind: UnaryKind): Rule<UnaryAttrs> => ({
  saves: { inputs: [0] },
  grad: ({ inputs: [x], attrs }, [g]) => [unaryGrad(kind, x!, g!, attrs)],
});

const unaryRules: Rules<UnaryKind> = {
  neg: { grad: (_, [g]) => [neg(g!)] },
  addScalar: { grad: (_, [g]) => [g!] },
  mulScalar: { grad: ({ attrs }, [g]) => [mul(g!, attrs.a)] },
  abs: fromInput("abs"),
  exp: { saves: { outputs: [0] }, grad: ({ outputs: [y] }, [g]) => [mul(g!, y!)] },
  log: fromInput("log"),
  sqrt: fromInput("sqrt"),
  rsqrt: fromInput("rsqrt"),
  sin: fromInput("sin"),
  cos: fromInput("cos"),
  tanh: fromInput("tanh"),
  sigmoid: fromInput("sigmoid"),
  silu: fromInput("silu"),
  relu: fromInput("relu"),
  gelu: fromInput("gelu"),
  geluTanh: fromInput("geluTanh"),
  erf: fromInput("erf"),
  softplus: fromInput("softplus"),
  square: fromInput("square"),
  reciprocal: fromInput("reciprocal"),
  leakyRelu: fromInput("leakyRelu"),
  clamp: fromInput("clamp"),
  powScalar: fromInput("powScalar"),
  sign: "nondiff",
  floor: "nondiff",
  ceil: "nondiff",
  round: "nondiff",
  trunc: "nondiff",
  isFinite: "nondiff",
  logicalNot: "nondiff",
};

// maximum and minimum: the chosen operand gets the gradient, equals share it.
const chosen = (takesA: (a: Tensor, b: Tensor) => Tensor): Rule<object> => ({
  saves: { inputs: [0, 1] },
  grad: ({ inputs: [a, b] }, [g]) => {
    const half = mul(g!, 0.5);
    const none = zerosLike(g!);
    const tie = eq(a!, b!);
    return [where(tie, half, where(takesA(a!, b!), g!, none)), where(tie, half, where(takesA(b!, a!), g!, none))];
  },
});

const binaryRules: Rules<BinaryKind> = {
  add: { grad: (_, [g]) => [g!, g!] },
  sub: { grad: ({ needs }, [g]) => [g!, needs[1] ? neg(g!) : null] },
  mul: {
    saves: { inputs: [0, 1] },
    grad: ({ inputs: [a, b], needs }, [g]) => [needs[0] ? mul(g!, b!) : null, needs[1] ? mul(g!, a!) : null],
  },
  div: {
    saves: { inputs: [1], outputs: [0] },
    grad: ({ inputs: [, b], outputs: [y], needs }, [g]) => {
      const da = div(g!, b!);
      return [da, needs[1] ? neg(mul(da, y!)) : null];
    },
  },
  pow: {
    saves: { inputs: [0, 1], outputs: [0] },
    grad: ({ inputs: [a, b], outputs: [y], needs }, [g]) => [
      needs[0] ? mul(g!, mul(b!, pow(a!, add(b!, -1)))) : null,
      needs[1] ? mul(g!, mul(y!, log(a!))) : null,
    ],
  },
  maximum: chosen(gt),
  minimum: chosen(lt),
  eq: "nondiff",
  ne: "nondiff",
  lt: "nondiff",
  le: "nondiff",
  gt: "nondiff",
  ge: "nondiff",
  logicalAnd: "nondiff",
  logicalOr: "nondiff",
};

export const elementwiseRules: Rules<keyof ElementwiseAttrs> = {
  ...unaryRules,
  ...binaryRules,
  unaryGrad: "nondiff",
  where: {
    saves: { inputs: [0] },
    grad: ({ inputs: [condition], needs }, [g]) => {
      const none = zerosLike(g!);
      return [null, needs[1] ? where(condition!, g!, none) : null, needs[2] ? where(condition!, none, g!) : null];
    },
  },
  cast: { grad: ({ attrs }, [g]) => [cast(g!, attrs.dtype)] },
};
