import * as md from "../../src/index.js";
import type { OpCase } from "../../src/index.js";

// f of each run of `extent` numbers, `inner` apart.
function along(extent: number, inner: number, f: (run: number[]) => number[]): (x: number[]) => number[] {
  return (x) => {
    const out = new Array<number>(x.length);
    for (let outer = 0; outer < x.length; outer += extent * inner) {
      for (let j = 0; j < inner; j++) {
        const at = (i: number): number => outer + i * inner + j;
        f(Array.from({ length: extent }, (_, i) => x[at(i)]!)).forEach((value, i) => (out[at(i)] = value));
      }
    }
    return out;
  };
}
const normalized = (run: number[]): number[] => {
  const total = run.reduce((sum, value) => sum + Math.exp(value), 0);
  return run.map((value) => Math.exp(value) / total);
};
const logarithm = (run: number[]): number[] => normalized(run).map(Math.log);

export const softmaxCases: OpCase[] = [
  { what: "the last axis", shape: [4, 37], dim: -1, extent: 37, inner: 1 },
  { what: "the first axis", shape: [5, 3, 3], dim: 0, extent: 5, inner: 9 },
  { what: "a middle axis of 70 columns", shape: [2, 3, 70], dim: 1, extent: 3, inner: 70 },
].flatMap(({ what, shape, dim, extent, inner }): OpCase[] => [
  {
    primitives: ["softmax", "softmaxGrad"],
    name: `softmax over ${what}`,
    inputs: [{ shape, range: [-5, 5] }],
    run: (x) => md.softmax(x, dim),
    reference: along(extent, inner, normalized),
  },
  {
    primitives: ["logSoftmax", "softmaxGrad"],
    name: `logSoftmax over ${what}`,
    inputs: [{ shape, range: [-5, 5] }],
    run: (x) => md.logSoftmax(x, dim),
    reference: along(extent, inner, logarithm),
  },
]);
