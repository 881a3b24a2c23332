import {
  type AttentionMask,
  localKernelQuery,
  maskedAttention,
  masks,
  mul,
  rotaryEmbedding3d,
  scope,
  sum,
  type Tensor,
  tensor,
  VoxelHash,
} from "@md/tensor";
import { compare, FORWARD, GRADIENT } from "./compare.js";
import { array, type GoldenFile, load, metadata } from "./golden-file.js";
import { emptyReport, type GoldenReport, runCase } from "./report.js";

interface MaskCase {
  id: number | string;
  samples: number;
  tokens: number;
  points: number;
  context: number;
}

/** Whether the file holds the paper's equations, computed densely. */
export const isPaperEquations = (golden: GoldenFile): boolean =>
  ["mask_cases", "rope", "local"].some((key) => golden.metadata[key] !== undefined);

/** Eq. 13 masks, 3D rotary embedding and local kernel query, forward and gradient: a case for each id of the tensors. */
export function checkPaperEquations(golden: GoldenFile): GoldenReport {
  const report = emptyReport();
  const maskCases = (metadata(golden, "mask_cases") ?? []) as MaskCase[];
  const checks: Record<string, (id: string) => void> = {
    mask: (id) => checkMask(golden, id, maskCases),
    rope: (id) => checkRope(golden, id),
    local: (id) => checkLocal(golden, id),
  };
  const cases = [...golden.arrays.keys(), ...maskCases.map(({ id }) => `mask.${id}.`)].map((name) =>
    name.split(".", 2),
  );
  for (const name of new Set(cases.map((parts) => parts.join(".")))) {
    const [equation, id] = name.split(".") as [string, string];
    runCase(report, name, () => {
      const check = checks[equation];
      if (!check) throw new Error("no equation has this name");
      scope(() => check(id));
    });
  }
  return report;
}

function checkMask(golden: GoldenFile, id: string, maskCases: readonly MaskCase[]): void {
  const found = maskCases.find((maskCase) => String(maskCase.id) === id);
  if (!found) throw new Error("the metadata's mask_cases has no such id");
  const { samples, tokens, points, context } = found;
  const described = masks.level2({ samples, tokensPerSample: tokens, conditionTokens: points + context });
  const forms: AttentionMask[] = [described, masks.dense(load(golden, `mask.${id}.mask`))];
  for (const mask of forms) {
    const names = ["q", "k", "v"];
    const [q, k, v] = names.map((name) => leaf(golden, `mask.${id}.${name}`)) as [Tensor, Tensor, Tensor];
    checkWithGradients(golden, `mask.${id}`, maskedAttention(q, k, v, { mask }), { q, k, v });
  }
}

function checkRope(golden: GoldenFile, id: string): void {
  const x = leaf(golden, `rope.${id}.x`);
  checkWithGradients(golden, `rope.${id}`, rotaryEmbedding3d(x, load(golden, `rope.${id}.xyz`)), { x });
}

function checkLocal(golden: GoldenFile, id: string): void {
  const read = (name: string): Tensor => load(golden, `local.${id}.${name}`);
  const features = leaf(golden, `local.${id}.features`);
  const weight = leaf(golden, `local.${id}.weight`);
  const voxelSize = Number(array(golden, `local.${id}.voxel_size`).data[0]);
  const hash = VoxelHash.build(read("points"), read("point_batch"), { voxelSize });
  compare(golden, `local.${id}.voxels`, hash.coordinates, 0);
  const offsets = hash.voxelOffsets.toFlatArray();
  const counts = offsets.slice(1).map((end, voxel) => end - offsets[voxel]!);
  compare(golden, `local.${id}.voxel_count`, tensor(counts, { dtype: "i64" }), 0);
  const means = hash.mean(features);
  compare(golden, `local.${id}.voxel_mean`, means, FORWARD);
  const map = hash.localKernelMap(read("queries"), read("query_batch"));
  checkWithGradients(golden, `local.${id}`, localKernelQuery(map, means, weight), { features, weight });
}

function leaf(golden: GoldenFile, name: string): Tensor {
  const x = load(golden, name);
  x.requiresGrad = true;
  return x;
}

function checkWithGradients(
  golden: GoldenFile,
  name: string,
  out: Tensor,
  leaves: Readonly<Record<string, Tensor>>,
): void {
  compare(golden, `${name}.out`, out, FORWARD);
  sum(mul(out, load(golden, `${name}.grad_out`))).backward();
  for (const [input, { grad }] of Object.entries(leaves)) {
    if (!grad) throw new Error(`${name}.grad_${input}: the op gave no gradient`);
    compare(golden, `${name}.grad_${input}`, grad, GRADIENT);
  }
}
