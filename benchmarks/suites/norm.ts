import { batchNorm, crossEntropy, layerNorm, softmax, type Tensor } from "@md/tensor";
import type { HostTensor } from "../peers/protocol.js";
import { type BenchCase, type Bind, random, randomInputs, stateless, type Suite, withGradients } from "../suite.js";

interface Kernel {
  op: string;
  forward: (...inputs: Tensor[]) => Tensor;
  /** Whether a weight and a bias follow x. */
  affine: boolean;
  /** Times that as many elements as x has are read or written. */
  moves: { forward: number; backward: number };
}
const perRow = { forward: 2, backward: 3 };
// Sums over all rows first, of x, then of x and the gradient, before both are read once more.
const perColumn = { forward: 3, backward: 5 };
const kernels: readonly Kernel[] = [
  { op: "layerNorm", forward: (x, weight, bias) => layerNorm(x, { weight, bias }), affine: true, moves: perRow },
  { op: "softmax", forward: (x) => softmax(x, -1), affine: false, moves: perRow },
  {
    op: "batchNorm",
    forward: (x, weight, bias) => batchNorm(x, { weight, bias }).output,
    affine: true,
    moves: perColumn,
  },
];

function casesOf(rows: number, channels: number, where: string, outOfCache: boolean): BenchCase[] {
  const size = rows * channels;
  const countsFor = outOfCache ? (["memory-bound"] as const) : [];
  return kernels.flatMap(({ op, forward, affine, moves }): BenchCase[] => {
    const x = [rows, channels];
    const operands = affine ? [x, [channels], [channels]] : [x];
    const backward: Bind = withGradients(forward, operands.length);
    return [
      {
        name: `${op}, ${where}`,
        inputs: randomInputs(operands),
        bind: stateless(forward),
        peer: { op },
        bytes: 4 * moves.forward * size,
        countsFor,
      },
      {
        name: `${op}, forward and backward, ${where}`,
        inputs: randomInputs([...operands, x]),
        bind: backward,
        peer: { op: `${op}Grad` },
        bytes: 4 * (moves.forward + moves.backward) * size,
        countsFor,
      },
    ];
  });
}

/** A scale and a shift for each of `conditions`, which `rowsEach` rows of x share. */
function modulatedCases(conditions: number, rowsEach: number, channels: number, where: string): BenchCase[] {
  const x = rowsEach === 1 ? [conditions, channels] : [conditions, rowsEach, channels];
  const modulation = [conditions, channels];
  const operands = [x, [channels], [channels], modulation, modulation];
  const forward = (x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor): Tensor =>
    layerNorm(x, { weight, bias, scale, shift });
  const size = conditions * rowsEach * channels;
  const ofConditions = conditions * channels;
  const countsFor = rowsEach === 1 ? [] : (["memory-bound"] as const); // one row a condition is in cache
  return [
    {
      name: `layerNorm, modulated, ${where}`,
      inputs: randomInputs(operands),
      bind: stateless(forward),
      peer: { op: "modulatedLayerNorm" },
      bytes: 4 * (2 * size + 2 * ofConditions),
      countsFor,
    },
    {
      name: `layerNorm, modulated, forward and backward, ${where}`,
      inputs: randomInputs([...operands, x]),
      bind: withGradients(forward, operands.length),
      peer: { op: "modulatedLayerNormGrad" },
      // The gradient of a row's own shift is the cotangent.
      bytes: 4 * (5 * size + (rowsEach === 1 ? 4 : 5) * ofConditions),
      countsFor,
    },
  ];
}

function crossEntropyCases(rows: number, classes: number, where: string, outOfCache: boolean): BenchCase[] {
  const inputs = (): HostTensor[] => [
    random([rows, classes], 1),
    { shape: [rows], data: Int32Array.from({ length: rows }, (_, i) => (i * 7919) % classes) },
  ];
  const forward = (logits: Tensor, target: Tensor): Tensor => crossEntropy(logits, target);
  const size = rows * classes;
  return [
    {
      name: `crossEntropy, ${where}`,
      inputs,
      bind: stateless(forward),
      peer: { op: "crossEntropy" },
      bytes: 4 * size,
    },
    {
      name: `crossEntropy, forward and backward, ${where}`,
      inputs: () => [...inputs(), random([], 2)],
      bind: withGradients(forward, 1),
      peer: { op: "crossEntropyGrad" },
      bytes: 12 * size,
      // With its gradient, for forward alone takes as long in cache: a power for every four bytes.
      countsFor: outOfCache ? ["memory-bound"] : [],
    },
  ];
}

/** Normalisations over rows or columns, and the loss that begins with one. */
export const normSuite: Suite = {
  name: "norm",
  cases: [
    ...casesOf(2 ** 17, 256, "128 MiB a tensor", true),
    ...casesOf(4000, 288, "4000×288", false),
    ...crossEntropyCases(2 ** 17, 256, "128 MiB of logits", true),
    ...crossEntropyCases(4000, 288, "4000×288", false),
    ...modulatedCases(64, 2 ** 11, 256, "by 64 conditions, 128 MiB a tensor"),
    ...modulatedCases(4000, 1, 288, "row by row, 4000×288"),
  ],
};
