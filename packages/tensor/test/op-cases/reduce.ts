import * as md from "../../src/index.js";
import type { OpCase } from "../../src/index.js";

const sumOf = (values: number[]): number => values.reduce((total, value) => total + value, 0);
const meanOf = (values: number[]): number => sumOf(values) / values.length;
const maxOf = (values: number[]): number => Math.max(...values);
const minOf = (values: number[]): number => Math.min(...values);

// Reduces a row-major array of `shape` over `axes`, one result a combination of the other axes.
function reduceBy(
  f: (values: number[]) => number,
  shape: readonly number[],
  axes: readonly number[],
): (x: number[]) => number[] {
  return (x) => {
    const groups = new Map<number, number[]>();
    x.forEach((value, flat) => {
      let key = 0;
      let rest = flat;
      const index = shape.map((_, axis) => {
        const inner = shape.slice(axis + 1).reduce((product, extent) => product * extent, 1);
        const at = Math.floor(rest / inner);
        rest %= inner;
        return at;
      });
      index.forEach((at, axis) => (key = axes.includes(axis) ? key : key * shape[axis]! + at));
      groups.set(key, [...(groups.get(key) ?? []), value]);
    });
    return [...groups].sort(([a], [b]) => a - b).map(([, values]) => f(values));
  };
}

const reductions = { sum: sumOf, mean: meanOf, amax: maxOf, amin: minOf };
const layouts: { shape: number[]; dim: number[]; what: string }[] = [
  { shape: [3, 4], dim: [0, 1], what: "all" },
  { shape: [3, 37], dim: [1], what: "the last axis" },
  { shape: [37, 3], dim: [0], what: "the first axis of narrow rows" },
  { shape: [5, 70], dim: [0], what: "the first axis of wide rows" },
  { shape: [3, 5, 4], dim: [1], what: "a middle axis" },
  { shape: [3, 5, 4], dim: [0, 2], what: "two axes apart" },
  { shape: [2, 1, 3], dim: [1], what: "an extent of 1" },
];

export const reduceCases: OpCase[] = [
  ...(["sum", "mean", "amax", "amin"] as const).flatMap((kind) =>
    layouts.map(({ shape, dim, what }): OpCase => ({
      primitives: [kind],
      name: `${kind} over ${what}`,
      inputs: [{ shape }],
      run: (x) => md[kind](x, { dim }),
      reference: reduceBy(reductions[kind], shape, dim),
    })),
  ),
  {
    primitives: ["sum"],
    name: "sum over more elements than a block",
    inputs: [{ shape: [70_000], grad: false }],
    run: (x) => md.sum(x),
    reference: (x) => [sumOf(x)],
    gradient: false,
  },
  {
    primitives: ["sum"],
    name: "sum of bool counts in i64",
    inputs: [{ shape: [3, 40], dtype: "bool" }],
    run: (x) => md.sum(x, { dim: 1 }),
    reference: reduceBy(sumOf, [3, 40], [1]),
    gradient: false,
  },
  {
    primitives: ["amax"],
    name: "amax of i32",
    inputs: [{ shape: [3, 40], dtype: "i32", range: [-50, 50] }],
    run: (x) => md.amax(x, { dim: 0, keepdim: true }),
    reference: reduceBy(maxOf, [3, 40], [0]),
    gradient: false,
  },
  {
    primitives: ["any"],
    name: "any",
    inputs: [{ shape: [4, 3], values: [0, 0, 0, 1, 0, 0, 1, 1, 1, 0, 0, 0], dtype: "bool" }],
    run: (x) => md.any(x, { dim: 1 }),
    reference: reduceBy(maxOf, [4, 3], [1]),
    gradient: false,
  },
  {
    primitives: ["all"],
    name: "all",
    inputs: [{ shape: [4, 3], values: [0, 0, 0, 1, 0, 0, 1, 1, 1, 0, 0, 0], dtype: "bool" }],
    run: (x) => md.all(x, { dim: 1 }),
    reference: reduceBy(minOf, [4, 3], [1]),
    gradient: false,
  },
  ...(["argmax", "argmin"] as const).flatMap((kind): OpCase[] => [
    {
      primitives: [kind],
      name: `${kind} of the last axis`,
      inputs: [{ shape: [4, 19] }],
      run: (x) => md[kind](x, { dim: 1 }),
      reference: reduceBy((values) => values.indexOf(kind === "argmax" ? maxOf(values) : minOf(values)), [4, 19], [1]),
      gradient: false,
    },
    {
      primitives: [kind],
      name: `${kind} of a middle axis, the first of equals`,
      inputs: [{ shape: [2, 5, 3], dtype: "i32", range: [0, 3] }],
      run: (x) => md[kind](x, { dim: 1, keepdim: true }),
      reference: reduceBy(
        (values) => values.indexOf(kind === "argmax" ? maxOf(values) : minOf(values)),
        [2, 5, 3],
        [1],
      ),
      gradient: false,
    },
  ]),
  {
    primitives: ["sum", "mean"],
    name: "variance",
    inputs: [{ shape: [3, 9] }],
    run: (x) => md.variance(x, { dim: 1 }),
    reference: reduceBy((values) => sumOf(values.map((value) => (value - meanOf(values)) ** 2)) / 8, [3, 9], [1]),
  },
];
