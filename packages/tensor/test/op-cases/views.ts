import * as md from "../../src/index.js";
import type { OpCase } from "../../src/index.js";

export const viewCases: OpCase[] = [
  {
    primitives: ["reshape"],
    name: "reshape",
    inputs: [{ shape: [3, 2, 4] }],
    run: (x) => md.reshape(x, [6, -1]),
    reference: (x) => x,
  },
  {
    primitives: ["permute"],
    name: "permute",
    inputs: [{ shape: [2, 3] }],
    run: (x) => md.permute(x, [1, 0]),
    reference: (x) => [0, 3, 1, 4, 2, 5].map((i) => x[i]!),
  },
  {
    primitives: ["permute", "reshape"],
    name: "reshape of a permuted tensor",
    inputs: [{ shape: [2, 3, 4] }],
    run: (x) => md.reshape(md.permute(x, [2, 0, 1]), [8, 3]),
    reference: (x) => Array.from({ length: 24 }, (_, i) => x[(i % 6) * 4 + Math.floor(i / 6)]!),
  },
  {
    primitives: ["expand"],
    name: "expand",
    inputs: [{ shape: [3, 1] }],
    run: (x) => md.expand(x, [2, 3, 4]),
    reference: (x) => Array.from({ length: 24 }, (_, i) => x[Math.floor(i / 4) % 3]!),
  },
  {
    primitives: ["split"],
    name: "split",
    inputs: [{ shape: [2, 6, 3] }],
    run: (x) => {
      const [a, b, c] = md.split(x, [1, 3, 2], 1) as [md.Tensor, md.Tensor, md.Tensor];
      return [c, md.mul(a, b)];
    },
    reference: (x) => {
      const at = (i: number, j: number, k: number): number => x[(i * 6 + j) * 3 + k]!;
      const each = (from: number, to: number, value: (i: number, j: number, k: number) => number): number[] =>
        [0, 1].flatMap((i) =>
          Array.from({ length: to - from }, (_, j) => [0, 1, 2].map((k) => value(i, from + j, k))).flat(),
        );
      return [each(4, 6, at), each(1, 4, (i, j, k) => at(i, 0, k) * at(i, j, k))];
    },
  },
  {
    primitives: ["split"],
    name: "split with an empty and an unused part",
    inputs: [{ shape: [4, 2] }],
    run: (x) => md.split(x, [1, 0, 3], 0)[2]!,
    reference: (x) => x.slice(2),
  },
  {
    primitives: ["slice", "sliceGrad"],
    name: "slice with steps",
    inputs: [{ shape: [6, 3, 4] }],
    run: (x) => md.slice(x, [[1, 5, 2], null, [-2, null, 1]]),
    reference: (x) => [1, 3].flatMap((i) => [0, 1, 2].flatMap((j) => [2, 3].map((k) => x[(i * 3 + j) * 4 + k]!))),
  },
  {
    primitives: ["contiguous"],
    name: "contiguous",
    inputs: [{ shape: [2, 5] }],
    run: (x) => md.contiguous(md.transpose(x)),
    reference: (x) => Array.from({ length: 10 }, (_, i) => x[(i % 2) * 5 + Math.floor(i / 2)]!),
  },
];
