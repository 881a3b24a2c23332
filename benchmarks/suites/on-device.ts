import type { Place } from "../policy-step.js";
import type { Suite } from "../suite.js";
import { attentionSuite } from "./attention.js";
import { autogradOverheadSuite } from "./autograd-overhead.js";
import { convSuite } from "./conv.js";
import { elementwiseSuite } from "./elementwise.js";
import { type FullPolicySizes, fullPolicySuite } from "./full-policy.js";
import { gemmSuite } from "./gemm.js";
import { normSuite } from "./norm.js";
import { optimizerSuite } from "./optimizer.js";
import { sortSuite } from "./sort.js";
import { sparseSuite } from "./sparse.js";
import { voxelSuite } from "./voxel.js";

// In bf16 what autocast computes in it: coordinates, keys and an optimiser's state are none of that.
const inHalf = [gemmSuite, elementwiseSuite, normSuite, attentionSuite, convSuite, sparseSuite];
const inSingle = [...inHalf, voxelSuite, sortSuite, optimizerSuite, autogradOverheadSuite];

/** What is measured on a CUDA device: the CPU's kernels there, and the full policy in the paper's sizes. */
export function suitesOn(place: Place, sizes?: FullPolicySizes): readonly Suite[] {
  const kernels = place.dtype === "bf16" ? inHalf : inSingle;
  return [
    ...kernels.map(({ name, cases }) => ({
      name,
      // Numbers beside the times are of the CPU, and so are its targets.
      cases: cases.map((bench) => ({
        ...bench,
        threads: "one" as const,
        metrics: undefined,
        countsFor: bench.name.startsWith("Level-2, forward") ? (["cuda-level2"] as const) : [],
      })),
    })),
    fullPolicySuite(place, sizes),
  ];
}
