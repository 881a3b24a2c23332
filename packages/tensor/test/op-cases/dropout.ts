import * as md from "../../src/index.js";
import type { OpCase } from "../../src/index.js";

export const dropoutCases: OpCase[] = [
  {
    primitives: ["dropout"],
    name: "dropout is bernoulli over the share kept",
    inputs: [{ shape: [7, 43] }],
    run: (x) => md.dropout(x, 0.3, new md.Generator(11)),
    reference: (x) => {
      const kept = md.bernoulli([x.length], 0.7, { generator: new md.Generator(11) }).toFlatArray();
      return x.map((value, i) => (value * kept[i]!) / 0.7);
    },
  },
];
