import * as md from "../../src/index.js";
import type { Activation, OpCase } from "../../src/index.js";
import { usedAgain } from "./used-again.js";

/** `batch` products [m, k] x [k, n]; an operand of one matrix serves all. */
const product =
  (m: number, k: number, n: number, batch = 1) =>
  (a: number[], b: number[]): number[] => {
    const at = (x: number[], item: number, size: number, i: number): number =>
      x[(x.length > size ? item * size : 0) + i]!;
    return Array.from({ length: batch * m * n }, (_, index) => {
      const [item, i, j] = [Math.floor(index / (m * n)), Math.floor(index / n) % m, index % n];
      let total = 0;
      for (let p = 0; p < k; p++) total += at(a, item, m * k, i * k + p) * at(b, item, k * n, p * n + j);
      return total;
    });
  };

const matmulRow = (name: string, a: number[], b: number[], reference: OpCase["reference"]): OpCase => ({
  primitives: ["matmul"],
  name: `matmul: ${name}`,
  inputs: [{ shape: a }, { shape: b }],
  run: (x, y) => md.matmul(x, y),
  ...(reference && { reference }),
});

const functions: Record<Activation, (x: number) => number> = {
  none: (x) => x,
  relu: (x) => Math.max(x, 0),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  geluTanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => x / (1 + Math.exp(-x)),
};

/** Maclaurin series: enough for the |x| < 4 of these rows. */
function erf(x: number): number {
  let term = x;
  let total = x;
  for (let n = 1; n < 120; n++) {
    term *= -(x * x) / n;
    total += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
}

const linearRow = (
  activation: Activation,
  lead: number[],
  inSize: number,
  outSize: number,
  { bias: withBias = true, residual: withResidual = false } = {},
): OpCase => ({
  primitives: activation === "none" ? ["linear", "linearGrad"] : ["linearActivation", "linearGrad"],
  name: `linear: ${activation}, [${lead}] x ${inSize} -> ${outSize}${withBias ? "" : ", no bias"}${withResidual ? ", residual" : ""}`,
  inputs: [
    { shape: [...lead, inSize] },
    { shape: [outSize, inSize] },
    ...(withResidual ? [{ shape: [...lead, outSize] }] : []),
    ...(withBias ? [{ shape: [outSize] }] : []),
  ],
  run: (x, weight, ...rest) => {
    const [residual, bias] = withResidual ? rest : [null, ...rest];
    return md.linear(x, weight, bias, { activation, residual });
  },
  reference: (x, weight, ...rest) =>
    Array.from({ length: lead.reduce((n, extent) => n * extent, 1) * outSize }, (_, index) => {
      const [row, j] = [Math.floor(index / outSize), index % outSize];
      const [residual, bias] = withResidual ? rest : [null, ...rest];
      let total = bias?.[j] ?? 0;
      for (let p = 0; p < inSize; p++) total += x[row * inSize + p]! * weight[j * inSize + p]!;
      return functions[activation](total) + (residual?.[index] ?? 0);
    }),
});

export const matmulCases: OpCase[] = [
  matmulRow("matrices", [3, 4], [4, 5], product(3, 4, 5)),
  matmulRow("ragged tiles", [13, 7], [7, 19], product(13, 7, 19)),
  matmulRow("dot products along a long k", [3, 40], [40, 2], product(3, 40, 2)),
  matmulRow("few columns", [9, 30], [30, 3], product(9, 30, 3)),
  matmulRow("batch", [3, 2, 4], [3, 4, 5], product(2, 4, 5, 3)),
  matmulRow("one matrix for a batch", [3, 2, 4], [4, 5], product(2, 4, 5, 3)),
  matmulRow("a batch for one matrix", [2, 4], [3, 4, 5], product(2, 4, 5, 3)),
  matmulRow("broadcast batches", [2, 1, 3, 4], [1, 3, 4, 2], undefined),
  matmulRow("vectors", [4], [4], product(1, 4, 1)),
  matmulRow("matrix and vector", [3, 4], [4], product(3, 4, 1)),
  matmulRow("vector and matrix", [4], [4, 3], product(1, 4, 3)),
  matmulRow("batch and vector", [2, 3, 4], [4], product(3, 4, 1, 2)),
  matmulRow("vector and batch", [4], [2, 4, 3], product(1, 4, 3, 2)),
  matmulRow("no rows", [0, 4], [4, 5], product(0, 4, 5)),
  matmulRow("no columns", [3, 4], [4, 0], product(3, 4, 0)),
  matmulRow("an empty sum", [3, 0], [0, 5], product(3, 0, 5)),
  matmulRow("an empty batch", [0, 3, 4], [0, 4, 5], product(3, 4, 5, 0)),
  ...(["none", "relu", "gelu", "geluTanh", "silu"] as const).map((activation) => linearRow(activation, [2, 5], 7, 9)),
  linearRow("none", [6], 3, 17, { bias: false }),
  linearRow("gelu", [], 30, 6),
  linearRow("silu", [14], 2, 33, { bias: false }),
  linearRow("relu", [0], 4, 3),
  linearRow("none", [3], 0, 4),
  ...(["none", "relu", "gelu", "geluTanh", "silu"] as const).map((activation) =>
    linearRow(activation, [3, 5], 7, 19, { residual: true }),
  ),
  linearRow("none", [13], 40, 3, { residual: true }),
  linearRow("gelu", [2], 40, 35, { bias: false, residual: true }),
  linearRow("none", [0], 4, 3, { residual: true }),
  linearRow("relu", [3], 0, 4, { residual: true }),
  usedAgain(linearRow("none", [13], 40, 3)),
  usedAgain(linearRow("gelu", [3, 5], 7, 19, { residual: true })),
  usedAgain(linearRow("relu", [0], 4, 3)),
  {
    primitives: ["matmul"],
    name: "einsum: attention scores",
    inputs: [{ shape: [2, 3, 2, 4] }, { shape: [2, 5, 2, 4] }],
    run: (q, k) => md.einsum("bqhd,bkhd->bhqk", q, k),
    reference: (q, k) =>
      Array.from({ length: 60 }, (_, index) => {
        const [b, h, i, j] = [Math.floor(index / 30), Math.floor(index / 15) % 2, Math.floor(index / 5) % 3, index % 5];
        let total = 0;
        for (let d = 0; d < 4; d++) total += q[((b * 3 + i) * 2 + h) * 4 + d]! * k[((b * 5 + j) * 2 + h) * 4 + d]!;
        return total;
      }),
  },
  {
    primitives: ["matmul", "sum"],
    name: "einsum: sums, several contracted axes, permuted output",
    inputs: [{ shape: [2, 3, 4, 2] }, { shape: [4, 3, 5] }],
    run: (a, b) => md.einsum("iabs, baj -> ji", a, b),
    reference: (a, b) =>
      Array.from({ length: 10 }, (_, index) => {
        const [j, i] = [Math.floor(index / 2), index % 2];
        let total = 0;
        for (let x = 0; x < 3; x++)
          for (let y = 0; y < 4; y++)
            for (let s = 0; s < 2; s++) total += a[((i * 3 + x) * 4 + y) * 2 + s]! * b[(y * 3 + x) * 5 + j]!;
        return total;
      }),
  },
  {
    primitives: ["matmul"],
    name: "einsum: outer product in implicit order",
    inputs: [{ shape: [3] }, { shape: [2] }],
    run: (a, b) => md.einsum("j,i", a, b),
    reference: (a, b) => b.flatMap((y) => a.map((x) => x * y)),
  },
  {
    primitives: ["sum", "permute"],
    name: "einsum: one operand",
    inputs: [{ shape: [2, 3, 4] }],
    run: (x) => md.einsum("abc->ca", x),
    reference: (x) =>
      Array.from({ length: 8 }, (_, index) =>
        [0, 1, 2].reduce((total, b) => total + x[((index % 2) * 3 + b) * 4 + Math.floor(index / 2)]!, 0),
      ),
  },
];
