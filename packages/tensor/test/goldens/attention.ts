import * as md from "../../src/index.js";
import type { GoldenOps } from "./table.js";

export const attentionGoldens: GoldenOps = {
  masked_attention: ([q, k, v, mask], attrs) =>
    md.maskedAttention(q!, k!, v!, { mask: mask && md.masks.dense(mask), scale: attrs.scale as number | undefined }),
};
