import type { OpCase } from "../../src/index.js";
import { attentionCases } from "./attention.js";
import { elementwiseCases } from "./elementwise.js";
import { reduceCases } from "./reduce.js";
import { rotaryCases } from "./rotary.js";
import { viewCases } from "./views.js";
import { voxelCases } from "./voxel.js";

/** Every op's rows; a primitive without one fails the meta-test. */
export const opCases: OpCase[] = [...attentionCases, ...elementwiseCases, ...reduceCases, ...rotaryCases, ...viewCases, ...voxelCases];
