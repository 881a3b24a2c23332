import type { OpCase } from "../../src/index.js";
import { attentionCases } from "./attention.js";
import { deviceCases } from "./devices.js";
import { dropoutCases } from "./dropout.js";
import { elementwiseCases } from "./elementwise.js";
import { imageCases } from "./image.js";
import { indexingCases } from "./indexing.js";
import { lossCases } from "./losses.js";
import { matmulCases } from "./matmul.js";
import { normCases } from "./norms.js";
import { optimizerCases } from "./optimizer.js";
import { reduceCases } from "./reduce.js";
import { rotaryCases } from "./rotary.js";
import { segmentCases } from "./segment.js";
import { serializeCases } from "./serialize.js";
import { softmaxCases } from "./softmax.js";
import { sortCases } from "./sort.js";
import { sparseConvCases } from "./sparse-conv.js";
import { viewCases } from "./views.js";
import { voxelCases } from "./voxel.js";

/** Every op's rows; a primitive without one fails the meta-test. */
export const opCases: OpCase[] = [
  ...attentionCases,
  ...deviceCases,
  ...dropoutCases,
  ...elementwiseCases,
  ...imageCases,
  ...indexingCases,
  ...lossCases,
  ...matmulCases,
  ...normCases,
  ...optimizerCases,
  ...reduceCases,
  ...rotaryCases,
  ...segmentCases,
  ...serializeCases,
  ...softmaxCases,
  ...sortCases,
  ...sparseConvCases,
  ...viewCases,
  ...voxelCases,
];
