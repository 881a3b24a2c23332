import { attentionGoldens } from "./attention.js";
import { elementwiseGoldens } from "./elementwise.js";
import { indexingGoldens } from "./indexing.js";
import { imageGoldens } from "./image.js";
import { lossGoldens } from "./losses.js";
import { matmulGoldens } from "./matmul.js";
import { normGoldens } from "./norms.js";
import { reduceGoldens } from "./reduce.js";
import type { GoldenOps } from "./table.js";
import { sortGoldens } from "./sort.js";
import { viewGoldens } from "./views.js";

/** Every op that golden files may name; each family has its own table. */
export const goldenOps: GoldenOps = {
  ...attentionGoldens,
  ...elementwiseGoldens,
  ...indexingGoldens,
  ...imageGoldens,
  ...lossGoldens,
  ...matmulGoldens,
  ...normGoldens,
  ...reduceGoldens,
  ...sortGoldens,
  ...viewGoldens,
};
