import * as md from "../../src/index.js";
import type { OpCase, OperandSpec } from "../../src/index.js";

const index = (values: number[], shape: number[] = [values.length], dtype: "i32" | "i64" = "i64"): OperandSpec => ({
  shape,
  dtype,
  values,
});

export const indexingCases: OpCase[] = [
  {
    primitives: ["cat"],
    name: "cat of the middle axis",
    inputs: [{ shape: [2, 3, 2] }, { shape: [2, 0, 2] }, { shape: [2, 1, 2] }],
    run: (a, b, c) => md.cat([a, b, c], 1),
    reference: (a, _, c) => [...a.slice(0, 6), ...c.slice(0, 2), ...a.slice(6), ...c.slice(2)],
  },
  {
    primitives: ["cat"],
    name: "stack",
    inputs: [{ shape: [2, 2] }, { shape: [2, 2] }],
    run: (a, b) => md.stack([a, b], -1),
    reference: (a, b) => a.flatMap((value, i) => [value, b[i]!]),
  },
  {
    primitives: ["indexSelect", "indexSelectGrad"],
    name: "indexSelect of rows, repeated",
    inputs: [{ shape: [4, 3] }, index([3, 0, 3, 3, 1], [5], "i32")],
    run: (x, at) => md.indexSelect(x, 0, at),
    reference: (x, at) => at.flatMap((row) => x.slice(3 * row, 3 * row + 3)),
  },
  {
    primitives: ["indexSelect", "indexSelectGrad"],
    name: "indexSelect of the last axis",
    inputs: [{ shape: [2, 2, 4] }, index([2, 2, 0])],
    run: (x, at) => md.indexSelect(x, -1, at),
    reference: (x, at) => [0, 1, 2, 3].flatMap((row) => at.map((i) => x[4 * row + i]!)),
  },
  {
    primitives: ["permuteRows", "indexSelect"],
    name: "permuteRows of a middle axis",
    inputs: [{ shape: [2, 4, 3] }, index([2, 0, 3, 1]), index([1, 3, 0, 2], [4], "i32")],
    run: (x, order, inverse) => md.permuteRows(x, 1, order, inverse),
    reference: (x, order) =>
      [0, 1].flatMap((item) => order.flatMap((row) => x.slice(12 * item + 3 * row, 12 * item + 3 * row + 3))),
  },
  {
    primitives: ["indexAdd"],
    name: "indexAdd, repeated",
    inputs: [{ shape: [3, 2] }, index([2, 0, 2, 2]), { shape: [4, 2] }],
    run: (x, at, source) => md.indexAdd(x, 0, at, source),
    reference: (x, at, source) => {
      const out = [...x];
      at.forEach((row, i) => [0, 1].forEach((c) => (out[2 * row + c]! += source[2 * i + c]!)));
      return out;
    },
  },
  {
    primitives: ["gather", "gatherGrad"],
    name: "gather along the last axis of fewer rows",
    inputs: [{ shape: [3, 4] }, index([3, 3, 0, 1, 2, 2], [2, 3])],
    run: (x, at) => md.gather(x, 1, at),
    reference: (x, at) => at.map((i, p) => x[4 * Math.floor(p / 3) + i]!),
  },
  {
    primitives: ["gather", "gatherGrad"],
    name: "gather along the first axis",
    inputs: [{ shape: [3, 2, 2] }, index([2, 0, 1, 1, 2, 2, 0, 1], [2, 2, 2], "i32")],
    run: (x, at) => md.gather(x, 0, at),
    reference: (x, at) => at.map((i, p) => x[4 * i + (p % 4)]!),
  },
  {
    primitives: ["scatterAdd"],
    name: "scatterAdd, repeated",
    inputs: [{ shape: [2, 3] }, index([2, 2, 0, 1, 1, 1], [2, 3]), { shape: [2, 3] }],
    run: (x, at, source) => md.scatterAdd(x, 1, at, source),
    reference: (x, at, source) => {
      const out = [...x];
      at.forEach((i, p) => (out[3 * Math.floor(p / 3) + i]! += source[p]!));
      return out;
    },
  },
  {
    primitives: ["scatterAdd", "gather"],
    name: "scatterAdd and gather of one axis",
    inputs: [{ shape: [4] }, index([3, 0, 3]), { shape: [3] }],
    run: (x, at, source) => [md.scatterAdd(x, 0, at, source), md.gather(x, 0, at)],
    reference: (x, at, source) => [
      x.map((value, i) => value + source.reduce((sum, s, p) => sum + (at[p] === i ? s : 0), 0)),
      at.map((i) => x[i]!),
    ],
  },
  {
    primitives: ["indexSelect"],
    name: "embedding",
    inputs: [index([6, 0, 6, 2], [2, 2]), { shape: [7, 3] }],
    run: (at, weight) => md.embedding(at, weight),
    reference: (at, weight) => at.flatMap((row) => weight.slice(3 * row, 3 * row + 3)),
  },
  {
    primitives: ["oneHot"],
    name: "oneHot",
    inputs: [index([2, 0, 1], [3, 1])],
    run: (at) => md.oneHot(at, 3),
    reference: () => [0, 0, 1, 1, 0, 0, 0, 1, 0],
    gradient: false,
  },
  {
    primitives: ["indexSelect", "gather", "cat"],
    name: "indexing of nothing",
    inputs: [{ shape: [3, 0] }, index([2, 2]), { shape: [0, 4] }, index([], [0, 4])],
    run: (x, at, y, none) => [md.indexSelect(x, 0, at), md.gather(y, 0, none), md.cat([y, y])],
  },
];
