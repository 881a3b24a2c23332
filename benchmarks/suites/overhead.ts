import Benchmark from "benchmark";
import { add, ones, scope } from "@md/tensor";
import type { Suite } from "../suite.js";

/** What one small op costs from TypeScript to the kernel and back. */
export const overheadSuite: Suite = {
  name: "overhead",
  cases: [
    {
      name: "add of two elements and dispose",
      run() {
        const x = ones([2]).keep();
        const y = ones([2]).keep();
        const bench = new Benchmark(() =>
          scope(() => {
            for (let i = 0; i < 100; i++) add(x, y).dispose();
          }),
        ).run({ async: false });
        x.dispose();
        y.dispose();
        const microseconds = (bench.stats.mean * 1e6) / 100;
        return [
          {
            metric: "time",
            value: microseconds,
            unit: "µs",
            target: "< 2",
            met: microseconds < 2,
            note: `±${bench.stats.rme.toFixed(1)}%`,
          },
        ];
      },
    },
  ],
};
