import * as md from "../../src/index.js";
import type { OpCase } from "../../src/index.js";
import { usedAgain } from "./used-again.js";

// Standardises the elements that share a group, then scales and shifts by a parameter index.
function standardize(
  x: number[],
  groupOf: (flat: number) => number,
  parameterOf: (flat: number) => number,
  eps: number,
  weight?: number[],
  bias?: number[],
): number[] {
  const groups = new Map<number, number[]>();
  x.forEach((value, flat) => groups.set(groupOf(flat), [...(groups.get(groupOf(flat)) ?? []), value]));
  return x.map((value, flat) => {
    const members = groups.get(groupOf(flat))!;
    const mean = members.reduce((total, member) => total + member, 0) / members.length;
    const variance = members.reduce((total, member) => total + (member - mean) ** 2, 0) / members.length;
    const p = parameterOf(flat);
    return ((value - mean) / Math.sqrt(variance + eps)) * (weight ? weight[p]! : 1) + (bias ? bias[p]! : 0);
  });
}

/** layerNorm of x [...lead, width] by a scale and a shift that have `shared` of the leading axes. */
const modulatedRow = (
  lead: number[],
  width: number,
  shared: number,
  { weight: withWeight = true, bias: withBias = true } = {},
): OpCase => {
  const parameters = (withWeight ? 1 : 0) + (withBias ? 1 : 0);
  const split = <X>(rest: X[]): { weight?: X; bias?: X; scale: X; shift: X } => ({
    weight: withWeight ? rest[0] : undefined,
    bias: withBias ? rest[parameters - 1] : undefined,
    scale: rest[parameters]!,
    shift: rest[parameters + 1]!,
  });
  const modulation = { shape: [...lead.slice(0, shared), width] };
  const rowsEach = lead.slice(shared).reduce((n, extent) => n * extent, 1);
  const without = `${withWeight ? "" : ", no weight"}${withBias ? "" : ", no bias"}`;
  return {
    primitives: ["layerNorm", "layerNormGrad"],
    name: `layerNorm of [${[...lead, width]}] modulated by [${modulation.shape}]${without}`,
    inputs: [
      { shape: [...lead, width] },
      ...new Array<{ shape: number[] }>(parameters).fill({ shape: [width] }),
      modulation,
      modulation,
    ],
    run: (x, ...rest) => md.layerNorm(x, split(rest)),
    reference: (x, ...rest) => {
      const { weight, bias, scale, shift } = split(rest);
      const normed = standardize(
        x,
        (i) => Math.floor(i / width),
        (i) => i % width,
        1e-5,
        weight,
        bias,
      );
      return normed.map((value, i) => {
        const at = Math.floor(i / width / rowsEach) * width + (i % width);
        return value * (1 + scale[at]!) + shift[at]!;
      });
    },
  };
};

export const normCases: OpCase[] = [
  ...[18, 32].map((width): OpCase => ({
    primitives: ["layerNorm", "layerNormGrad"],
    name: `layerNorm of ${width} with weight and bias`,
    inputs: [{ shape: [2, 3, width] }, { shape: [width] }, { shape: [width] }],
    run: (x, weight, bias) => md.layerNorm(x, { weight, bias }),
    reference: (x, weight, bias) =>
      standardize(
        x,
        (i) => Math.floor(i / width),
        (i) => i % width,
        1e-5,
        weight,
        bias,
      ),
  })),
  modulatedRow([2, 5], 18, 2),
  modulatedRow([2, 5], 7, 2, { weight: false, bias: false }),
  modulatedRow([2, 5], 18, 1),
  modulatedRow([2, 3, 2], 9, 2, { weight: false, bias: false }),
  modulatedRow([7], 33, 0, { bias: false }),
  modulatedRow([3, 1], 5, 1, { weight: false }),
  modulatedRow([2, 131], 4, 1),
  modulatedRow([45, 3], 3, 1),
  modulatedRow([2, 0], 5, 1),
  modulatedRow([0, 2], 5, 1),
  modulatedRow([2, 3], 0, 1),
  usedAgain(modulatedRow([2, 5], 18, 2)),
  usedAgain(modulatedRow([2, 131], 4, 1)),
  usedAgain(modulatedRow([2, 0], 5, 1)),
  {
    primitives: ["layerNorm", "layerNormGrad"],
    name: "layerNorm over two axes with weight",
    inputs: [{ shape: [5, 3, 4] }, { shape: [3, 4] }],
    run: (x, weight) => md.layerNorm(x, { weight }),
    reference: (x, weight) =>
      standardize(
        x,
        (i) => Math.floor(i / 12),
        (i) => i % 12,
        1e-5,
        weight,
      ),
  },
  {
    primitives: ["layerNorm", "layerNormGrad"],
    name: "layerNorm without parameters, more rows than a block",
    inputs: [{ shape: [130, 9] }],
    run: (x) => md.layerNorm(x, { eps: 1e-3 }),
    reference: (x) =>
      standardize(
        x,
        (i) => Math.floor(i / 9),
        () => 0,
        1e-3,
      ),
  },
  {
    primitives: ["groupNorm", "groupNormGrad"],
    name: "groupNorm of images",
    inputs: [{ shape: [3, 6, 4, 2] }, { shape: [6] }, { shape: [6] }],
    run: (x, weight, bias) => md.groupNorm(x, 2, { weight, bias }),
    reference: (x, weight, bias) =>
      standardize(
        x,
        (i) => Math.floor(i / 24),
        (i) => Math.floor(i / 8) % 6,
        1e-5,
        weight,
        bias,
      ),
  },
  {
    primitives: ["groupNorm", "groupNormGrad"],
    name: "groupNorm without space or parameters",
    inputs: [{ shape: [3, 8] }],
    run: (x) => md.groupNorm(x, 2),
    reference: (x) =>
      standardize(
        x,
        (i) => Math.floor(i / 4),
        () => 0,
        1e-5,
      ),
  },
  {
    primitives: ["batchNorm", "batchNormGrad"],
    name: "batchNorm of rows, more than a chunk",
    inputs: [{ shape: [131, 5] }, { shape: [5] }, { shape: [5] }],
    run: (x, weight, bias) => md.batchNorm(x, { weight, bias, eps: 1e-3 }).output,
    reference: (x, weight, bias) =>
      standardize(
        x,
        (i) => i % 5,
        (i) => i % 5,
        1e-3,
        weight,
        bias,
      ),
  },
  {
    primitives: ["batchNorm", "batchNormGrad"],
    name: "batchNorm of images",
    inputs: [{ shape: [3, 2, 4, 5] }, { shape: [2] }, { shape: [2] }],
    run: (x, weight, bias) => md.batchNorm(x, { weight, bias }).output,
    reference: (x, weight, bias) =>
      standardize(
        x,
        (i) => Math.floor(i / 20) % 2,
        (i) => Math.floor(i / 20) % 2,
        1e-5,
        weight,
        bias,
      ),
  },
  {
    primitives: ["batchNorm", "batchNormGrad"],
    name: "batchNorm with given statistics",
    inputs: [
      { shape: [6, 4] },
      { shape: [4] },
      { shape: [4] },
      { shape: [4], grad: false },
      { shape: [4], range: [0.5, 2], grad: false },
    ],
    run: (x, weight, bias, mean, variance) => md.batchNorm(x, { weight, bias, mean, variance }).output,
    reference: (x, weight, bias, mean, variance) =>
      x.map(
        (value, i) => ((value - mean[i % 4]!) / Math.sqrt(variance[i % 4]! + 1e-5)) * weight[i % 4]! + bias[i % 4]!,
      ),
  },
  {
    primitives: ["square", "sum", "clamp", "sqrt", "div"],
    name: "normalize",
    inputs: [{ shape: [4, 5] }],
    run: (x) => md.normalize(x),
    reference: (x) =>
      x.map((value, i) => value / Math.hypot(...x.slice(Math.floor(i / 5) * 5, Math.floor(i / 5) * 5 + 5))),
  },
];
