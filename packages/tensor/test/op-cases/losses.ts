import * as md from "../../src/index.js";
import type { OpCase } from "../../src/index.js";

const sumOf = (values: number[]): number => values.reduce((total, value) => total + value, 0);
const meanOf = (values: number[]): number => sumOf(values) / values.length;

function crossEntropies(logits: number[], target: number[], smoothing: number): number[] {
  const classes = logits.length / target.length;
  return target.map((label, item) => {
    const x = logits.slice(item * classes, (item + 1) * classes);
    const logTotal = Math.log(sumOf(x.map(Math.exp)));
    return (1 - smoothing) * (logTotal - x[label]!) + (smoothing / classes) * sumOf(x.map((value) => logTotal - value));
  });
}

const pair = [{ shape: [4, 3] }, { shape: [4, 3] }];
const elementwise =
  (f: (x: number, t: number) => number) =>
  (x: number[], t: number[]): number[] =>
    x.map((value, i) => f(value, t[i]!));
const smoothL1 =
  (beta: number) =>
  (x: number, t: number): number => {
    const d = Math.abs(x - t);
    return d < beta ? (d * d) / (2 * beta) : d - beta / 2;
  };

export const lossCases: OpCase[] = [
  ...(["mean", "sum", "none"] as const).flatMap((reduction) =>
    [0, 0.1].map((labelSmoothing): OpCase => ({
      primitives: ["crossEntropy", "crossEntropyGrad"],
      name: `crossEntropy ${reduction}, smoothing ${labelSmoothing}`,
      inputs: [
        { shape: [7, 21], range: [-4, 4] },
        { shape: [7], dtype: reduction === "sum" ? "i32" : "i64" },
      ],
      run: (x, t) => md.crossEntropy(x, t, { reduction, labelSmoothing }),
      reference: (x, t) => {
        const losses = crossEntropies(x, t, labelSmoothing);
        return reduction === "none" ? losses : [reduction === "mean" ? meanOf(losses) : sumOf(losses)];
      },
    })),
  ),
  {
    primitives: ["crossEntropy"],
    name: "crossEntropy of several heads",
    inputs: [{ shape: [2, 3, 5] }, { shape: [2, 3], dtype: "i64", range: [0, 5] }],
    run: (x, t) => md.crossEntropy(x, t),
    reference: (x, t) => [meanOf(crossEntropies(x, t, 0))],
  },
  {
    primitives: ["sub", "square", "mean"],
    name: "mseLoss",
    inputs: pair,
    run: (x, t) => md.mseLoss(x, t),
    reference: (x, t) => [meanOf(elementwise((a, b) => (a - b) ** 2)(x, t))],
  },
  {
    primitives: ["sub", "abs", "sum"],
    name: "l1Loss sum",
    inputs: pair,
    run: (x, t) => md.l1Loss(x, t, { reduction: "sum" }),
    reference: (x, t) => [sumOf(elementwise((a, b) => Math.abs(a - b))(x, t))],
  },
  ...[1, 0.3].map((beta): OpCase => ({
    primitives: ["abs", "clamp", "mul"],
    name: `smoothL1Loss, beta ${beta}`,
    inputs: pair,
    run: (x, t) => md.smoothL1Loss(x, t, { beta, reduction: "none" }),
    reference: elementwise(smoothL1(beta)),
  })),
  {
    primitives: ["softplus", "mul", "sub"],
    name: "binaryCrossEntropyWithLogits",
    inputs: [
      { shape: [9], range: [-6, 6] },
      { shape: [9], range: [0, 1] },
    ],
    run: (x, t) => md.binaryCrossEntropyWithLogits(x, t),
    reference: (x, t) => [
      meanOf(
        elementwise((a, b) => -b * Math.log(1 / (1 + Math.exp(-a))) - (1 - b) * Math.log(1 / (1 + Math.exp(a))))(x, t),
      ),
    ],
  },
];
