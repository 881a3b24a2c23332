import * as md from "../../src/index.js";
import type { GoldenOps } from "./table.js";

export const normGoldens: GoldenOps = {
  layer_norm: ([x, weight, bias], attrs) => md.layerNorm(x!, { weight, bias, eps: attrs.eps as number | undefined }),
  group_norm: ([x, weight, bias], attrs) =>
    md.groupNorm(x!, attrs.groups as number, { weight, bias, eps: attrs.eps as number | undefined }),
  batch_norm_train: ([x, weight, bias], attrs) =>
    md.batchNorm(x!, { weight, bias, eps: attrs.eps as number | undefined }).output,
  batch_norm_eval: ([x, weight, bias, mean, variance], attrs) =>
    md.batchNorm(x!, { weight, bias, mean, variance, eps: attrs.eps as number | undefined }).output,
  normalize: ([x], attrs) =>
    md.normalize(x!, { dim: attrs.dim as number | undefined, eps: attrs.eps as number | undefined }),
};
