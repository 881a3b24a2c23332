import { native } from "@md/native";
import type { Rule } from "../autograd.js";
import type { SegmentAttrs } from "../ops/segment.js";
import { execute } from "../primitives.js";

// Each row gets its segment's gradient, by a mean its share of it, of a maximum where it was chosen.
const toRows = (kind: "sum" | "mean" | "max"): Rule<object> => ({
  saves: { inputs: [1, 2], ...(kind === "max" && { outputs: [1] }) },
  grad: ({ inputs: [, offsets, order], outputs: [, chosen], shapes: [shape] }, [g]) => [
    execute("segmentReduceGrad", [g!, chosen ?? null, offsets!, order!], {}, () =>
      native.segmentReduceGrad(
        kind === "mean",
        g!.slot,
        chosen?.slot ?? -1,
        offsets!.slot,
        order?.slot ?? -1,
        shape![0]!,
      ),
    ),
    null,
    null,
  ],
});

export const segmentRules: { [P in keyof SegmentAttrs]: Rule<SegmentAttrs[P]> | "nondiff" } = {
  segmentSum: toRows("sum"),
  segmentMean: toRows("mean"),
  segmentReduceGrad: "nondiff",
  segmentMax: toRows("max"),
};
