import Benchmark from "benchmark";
import { add, mul, ones, scope, type Tensor } from "@md/tensor";
import { type Metric, random, stateless, type Suite, withGradients } from "../suite.js";

const count = 100;

/** By Benchmark.js, which knows nothing of our own way to measure. */
function addOfTwo(): Metric[] {
  return scope(() => {
    const [x, y] = [ones([2]), ones([2])];
    const bench = new Benchmark(() =>
      scope(() => {
        for (let i = 0; i < count; i++) add(x, y).dispose();
      }),
    ).run({ async: false });
    return [{ name: "an add by Benchmark.js", value: (bench.stats.mean * 1e6) / count, unit: "µs" }];
  });
}

/** What small ops cost from TypeScript to the kernel and back. */
export const autogradOverheadSuite: Suite = {
  name: "autograd-overhead",
  cases: [
    {
      name: `${count} adds of two elements`,
      inputs: () => [random([2], 1), random([2], 2)],
      bind: stateless((x, y) => {
        for (let i = 1; i < count; i++) add(x, y).dispose();
        return add(x, y);
      }),
      peer: { op: "smallAdds", params: { count } },
      metrics: addOfTwo,
      countsFor: ["overhead"],
    },
    {
      name: `chain of ${count} multiply-adds of 100 elements, forward and backward`,
      inputs: () => [random([100], 1), random([100], 2), random([100], 3)],
      bind: withGradients((x: Tensor, y: Tensor) => {
        let out = x;
        for (let i = 0; i < count; i++) out = add(mul(out, y), y);
        return out;
      }, 2),
      peer: { op: "chainGrad", params: { count } },
    },
  ],
};
