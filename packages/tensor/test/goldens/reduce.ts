import * as md from "../../src/index.js";
import type { GoldenAttrs, GoldenOps } from "./table.js";

const options = (attrs: GoldenAttrs): md.ReduceOptions => ({
  dim: (attrs.dim ?? undefined) as number | number[] | undefined,
  keepdim: attrs.keepdim as boolean | undefined,
});

export const reduceGoldens: GoldenOps = {
  sum: ([x], attrs) => md.sum(x!, options(attrs)),
  mean: ([x], attrs) => md.mean(x!, options(attrs)),
  amax: ([x], attrs) => md.amax(x!, options(attrs)),
  amin: ([x], attrs) => md.amin(x!, options(attrs)),
  var: ([x], attrs) => md.variance(x!, { ...options(attrs), correction: attrs.correction as number | undefined }),
  argmax: ([x], attrs) => md.argmax(x!, options(attrs) as md.ExtremeOptions),
  argmin: ([x], attrs) => md.argmin(x!, options(attrs) as md.ExtremeOptions),
  softmax: ([x], attrs) => md.softmax(x!, attrs.dim as number),
  log_softmax: ([x], attrs) => md.logSoftmax(x!, attrs.dim as number),
};
