import * as md from "../../src/index.js";
import type { OpCase, OperandSpec } from "../../src/index.js";

const depth = 4;
const coordinates: OperandSpec = { shape: [90, 3], dtype: "i32", range: [0, 2 ** depth] };
const batch: OperandSpec = { shape: [90], dtype: "i64", range: [0, 3] };

/** Bits of three numbers interleaved, the first one's highest. */
function interleave(at: number[]): number {
  let code = 0;
  for (let bit = depth - 1; bit >= 0; bit--) for (const v of at) code = 2 * code + ((v >> bit) & 1);
  return code;
}

function sorted(codes: number[]): number[][] {
  const order = codes.map((_, i) => i).sort((a, b) => codes[a]! - codes[b]! || a - b);
  return [codes, order, codes.map((_, i) => order.indexOf(i))];
}

export const serializeCases: OpCase[] = [
  {
    primitives: ["serialize"],
    name: "rows in Morton order, with x and y exchanged too",
    inputs: [coordinates, batch],
    run: (at, items) =>
      (["z", "z-trans"] as const).flatMap((curve) => {
        const { code, order, inverse } = md.serialize(at, items, { curve, depth });
        return [code, order, inverse];
      }),
    reference: (at, items) =>
      [0, 1].flatMap((first) =>
        sorted(
          items.map((item, i) => {
            const axes = [first, 1 - first, 2].map((axis) => at[3 * i + axis]!);
            return item * 2 ** (3 * depth) + interleave(axes);
          }),
        ),
      ),
    gradient: false,
  },
  {
    primitives: ["serialize"],
    name: "rows of nothing in order",
    inputs: [
      { shape: [0, 3], dtype: "i32" },
      { shape: [0], dtype: "i32" },
    ],
    run: (at, items) => Object.values(md.serialize(at, items, { curve: "hilbert" })) as md.Tensor[],
    reference: () => [[], [], []],
    gradient: false,
  },
];
