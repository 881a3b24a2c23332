import type { Suite } from "../suite.js";
import { attentionSuite } from "./attention.js";
import { autogradOverheadSuite } from "./autograd-overhead.js";
import { convSuite } from "./conv.js";
import { dataSuite } from "./data.js";
import { elementwiseSuite } from "./elementwise.js";
import { gemmSuite } from "./gemm.js";
import { level2Suite } from "./level2.js";
import { normSuite } from "./norm.js";
import { optimizerSuite } from "./optimizer.js";
import { samplingSuite } from "./sampling.js";
import { sortSuite } from "./sort.js";
import { sparseSuite } from "./sparse.js";
import { trainStepSuite } from "./train-step.js";
import { voxelSuite } from "./voxel.js";

export const suites: readonly Suite[] = [
  gemmSuite,
  elementwiseSuite,
  normSuite,
  attentionSuite,
  voxelSuite,
  sparseSuite,
  convSuite,
  sortSuite,
  optimizerSuite,
  autogradOverheadSuite,
  trainStepSuite,
  samplingSuite,
  level2Suite,
  dataSuite,
];
