import { cumsum, mulberry32, sort, topk } from "@md/tensor";
import type { HostTensor } from "../peers/protocol.js";
import { random, stateless, type Suite } from "../suite.js";

/** Keys like those of voxels and space-filling curves. */
function keys(count: number): HostTensor {
  const draw = mulberry32(1);
  return { shape: [count], data: BigInt64Array.from({ length: count }, () => BigInt(Math.floor(draw() * 2 ** 48))) };
}

/** Orders and running sums. */
export const sortSuite: Suite = {
  name: "sort",
  cases: [
    {
      name: "1,000,000 numbers",
      inputs: () => [random([1_000_000])],
      bind: stateless((x) => {
        const { values, indices } = sort(x);
        return [values, indices];
      }),
      peer: { op: "sort" },
    },
    {
      name: "100,000 keys of 48 bits",
      inputs: () => [keys(100_000)],
      bind: stateless((x) => {
        const { values, indices } = sort(x);
        return [values, indices];
      }),
      peer: { op: "sort" },
    },
    {
      name: "the largest 1000 of 1,000,000",
      inputs: () => [random([1_000_000])],
      // Equal numbers may be chosen in any order: their places are not compared.
      bind: stateless((x) => topk(x, 1000).values),
      peer: { op: "topk", params: { k: 1000 } },
    },
    {
      name: "running sum of 1,000,000",
      inputs: () => [random([1_000_000])],
      bind: stateless((x) => cumsum(x, 0)),
      peer: { op: "cumsum" },
      bytes: 8e6,
    },
  ],
};
