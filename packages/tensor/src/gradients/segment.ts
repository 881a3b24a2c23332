import { native } from "@md/native";
import type { Rule } from "../autograd.js";
import type { SegmentAttrs } from "../ops/segment.js";
import { execute } from "../primitives.js";

// Each row gets its segment's gradient, by a mean its share of it.
const toRows = (mean: boolean): Rule<object> => ({
  saves: { inputs: [1, 2] },
  grad: ({ inputs: [, offsets, order], shapes: [shape] }, [g]) => [
    execute("segmentReduceGrad", [g!, offsets!, order!], {}, () =>
      native.segmentReduceGrad(mean, g!.slot, offsets!.slot, order?.slot ?? -1, shape![0]!),
    ),
    null,
    null,
  ],
});

export const segmentRules: { [P in keyof SegmentAttrs]: Rule<SegmentAttrs[P]> | "nondiff" } = {
  segmentSum: toRows(false),
  segmentMean: toRows(true),
  segmentReduceGrad: "nondiff",
  segmentMax: {
    saves: { inputs: [1, 2], outputs: [1] },
    grad: ({ inputs: [, offsets, order], outputs: [, rows], shapes: [shape] }, [g]) => [
      execute("segmentMaxGrad", [g!, rows!, offsets!, order!], {}, () =>
        native.segmentMaxGrad(g!.slot, rows!.slot, offsets!.slot, order?.slot ?? -1, shape![0]!),
      ),
      null,
      null,
    ],
  },
  segmentMaxGrad: "nondiff",
};
