import * as md from "../../src/index.js";
import type { OpCase } from "../../src/index.js";

const sumOf = (values: number[]): number => values.reduce((total, value) => total + value, 0);

export const reduceCases: OpCase[] = [
  { primitives: ["sum"], name: "sum of all", inputs: [{ shape: [3, 4] }], run: (x) => md.sum(x), reference: (x) => [sumOf(x)] },
  {
    primitives: ["mean"],
    name: "mean of the last axis",
    inputs: [{ shape: [3, 4] }],
    run: (x) => md.mean(x, { dim: -1 }),
    reference: (x) => [0, 1, 2].map((i) => sumOf(x.slice(i * 4, i * 4 + 4)) / 4),
  },
];
