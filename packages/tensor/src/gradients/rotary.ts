import type { Rule } from "../autograd.js";
import { applyRotary, applyRotaryInverse, type RotaryAttrs } from "../ops/rotary.js";

export const rotaryRules: { [P in keyof RotaryAttrs]: Rule<RotaryAttrs[P]> | "nondiff" } = {
  rotaryTable: "nondiff",
  applyRotary: {
    saves: { inputs: [1] },
    grad: ({ inputs: [, table], attrs }, [g]) => [(attrs.inverse ? applyRotary : applyRotaryInverse)(g!, table!), null],
  },
};
