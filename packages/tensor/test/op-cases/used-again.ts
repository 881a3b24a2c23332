import type { OpCase, Tensor } from "../../src/index.js";

/** The same op on a tensor that a later op uses, too: its gradient is there already when the op's own is computed. */
export const usedAgain = (row: OpCase): OpCase => ({
  primitives: row.primitives,
  name: `${row.name}, an input used again`,
  inputs: row.inputs,
  run: (x, ...rest) => {
    const scaled = x.mul(1.5);
    return [row.run(scaled, ...rest), scaled.square()].flat() as Tensor[];
  },
});
