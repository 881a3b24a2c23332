import * as md from "../../src/index.js";
import type { OpCase } from "../../src/index.js";

const copy = (x: md.Tensor): md.Tensor => md.tensor(x.data(), { shape: x.shape, device: x.device });
const operand = { shape: [3, 11], grad: false };
const positive = { ...operand, range: [0.1, 1] as const };
const constants = { betas: [0.9, 0.98] as const, eps: 1e-8, weightDecay: 0.1 };
const numbersOfStep = { lr: 0.01, step: 3, gradScale: 0.3 };

type Numbers = (device: md.Device) => md.AdamWNumbers | md.AdamWTensors;

const adamwCase = (name: string, numbers: Numbers): OpCase => ({
  primitives: ["adamwStep"],
  name,
  inputs: [operand, operand, operand, positive],
  run: (p, g, m, v) => {
    const [parameter, expAvg, expAvgSq] = [copy(p!), copy(m!), copy(v!)];
    const state = { parameters: [parameter], grads: [g!], expAvgs: [expAvg], expAvgSqs: [expAvgSq] };
    md.adamwStep(state, { ...constants, ...numbers(p!.device) });
    return [parameter, expAvg, expAvgSq];
  },
  reference: (p, g, m, v) => {
    const { betas, eps, weightDecay } = constants;
    const { lr, step, gradScale } = numbersOfStep;
    const means = m.map((value, i) => betas[0] * value + (1 - betas[0]) * gradScale * g[i]!);
    const squares = v.map((value, i) => betas[1] * value + (1 - betas[1]) * (gradScale * g[i]!) ** 2);
    const parameters = p.map((value, i) => {
      const mean = means[i]! / (1 - betas[0] ** step);
      const square = squares[i]! / (1 - betas[1] ** step);
      return value * (1 - lr * weightDecay) - (lr * mean) / (Math.sqrt(square) + eps);
    });
    return [parameters, means, squares];
  },
  gradient: false,
  halfTolerance: null,
});

export const optimizerCases: OpCase[] = [
  adamwCase("adamwStep", () => numbersOfStep),
  adamwCase("adamwStep by tensors", (device) => ({
    lr: md.full([], numbersOfStep.lr, { dtype: "f64", device }),
    step: md.full([], numbersOfStep.step - 1, { dtype: "i64", device }),
    gradScale: md.full([], numbersOfStep.gradScale, { dtype: "f64", device }),
  })),
  {
    primitives: ["emaUpdate"],
    name: "emaUpdate",
    inputs: [operand, operand],
    run: (a, x) => {
      const average = copy(a!);
      md.emaUpdate([average], [x!], 0.75);
      return average;
    },
    reference: (a, x) => a.map((value, i) => 0.75 * value + 0.25 * x[i]!),
    gradient: false,
    halfTolerance: null,
  },
  {
    primitives: ["globalNorm"],
    name: "globalNorm",
    inputs: [operand, { shape: [20_001], grad: false }],
    run: (a, b) => md.globalNorm([a!, b!]).to(a!.dtype),
    reference: (a, b) => [Math.sqrt([...a, ...b].reduce((total, value) => total + value * value, 0))],
    gradient: false,
  },
];
