import { add, exp, gelu, relu } from "@md/tensor";
import { type BenchCase, random, stateless, type Suite, withGradients } from "../suite.js";

const count = 2 ** 25; // 128 MiB a tensor: out of cache
const rows = 4000 * 288; // a layer's activations: in cache

const unary = { gelu, relu, exp };

const cases = (size: number, where: string): BenchCase[] => {
  const outOfCache = size === count;
  const countsFor = outOfCache ? (["memory-bound"] as const) : [];
  return [
    {
      name: `add, ${where}`,
      inputs: () => [random([size], 1), random([size], 2)],
      bind: stateless(add),
      peer: { op: "add" },
      bytes: 12 * size,
      countsFor,
    },
    ...Object.entries(unary).map(([name, run]): BenchCase => ({
      name: `${name}, ${where}`,
      inputs: () => [random([size], 1)],
      bind: stateless((x) => run(x)),
      peer: { op: name },
      bytes: 8 * size,
      countsFor,
    })),
    {
      name: `gelu, forward and backward, ${where}`,
      inputs: () => [random([size], 1), random([size], 2)],
      bind: withGradients((x) => gelu(x), 1),
      peer: { op: "geluGrad" },
      bytes: 20 * size,
      countsFor,
    },
  ];
};

/** One pass over the elements. */
export const elementwiseSuite: Suite = {
  name: "elementwise",
  cases: [...cases(count, "128 MiB a tensor"), ...cases(rows, "4.6 MB a tensor")],
};
