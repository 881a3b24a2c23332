import { cast, indexSelect, mul, narrow, scope, squeeze, submConv3d, sum, type Tensor, VoxelHash } from "@md/tensor";
import { compare, FORWARD, GRADIENT } from "./compare.js";
import { type GoldenFile, load } from "./golden-file.js";
import { emptyReport, type GoldenReport, runCase } from "./report.js";

/** Whether the file is a submanifold convolution over voxel indices (batch, x, y, z), weight [out, kx, ky, kz, in]. */
export const isSparseConv = (golden: GoldenFile): boolean =>
  golden.metadata.weight_layout === "[out,kx,ky,kz,in]" && golden.arrays.has("indices");

/** Holds submConv3d against the file, forward and gradients. */
export function checkSparseConv(golden: GoldenFile): GoldenReport {
  const report = emptyReport();
  runCase(report, "submConv3d", () => scope(() => checkConvolution(golden)));
  return report;
}

function checkConvolution(golden: GoldenFile): void {
  const leaf = (name: string): Tensor => {
    const x = load(golden, name);
    x.requiresGrad = true;
    return x;
  };
  const names = golden.arrays.has("bias") ? ["features", "weight", "bias"] : ["features", "weight"];
  const leaves = names.map(leaf);
  const [features, weight, bias] = leaves as [Tensor, Tensor, Tensor | undefined];
  const kernelSize = weight.shape[1];
  if (kernelSize !== 3 && kernelSize !== 5) throw new Error(`kernel size is ${kernelSize}, expected 3 or 5`);

  const indices = load(golden, "indices");
  const batch = squeeze(narrow(indices, 1, 0, 1), 1);
  const hash = VoxelHash.build(cast(narrow(indices, 1, 1, 3), "f64"), batch, { voxelSize: 1 });
  if (hash.size !== indices.shape[0]) throw new Error(`indices has ${hash.size} distinct rows of ${indices.shape[0]}`);
  // The file's rows come in any order, those of the voxels in that of their keys.
  const ordered = indexSelect(features, 0, hash.pointOrder);
  const out = indexSelect(submConv3d(hash.neighbourMap(kernelSize), ordered, weight, { bias }), 0, hash.voxelOfPoint);
  compare(golden, "out", out, FORWARD);
  sum(mul(out, load(golden, "grad_out"))).backward();
  names.forEach((name, i) => {
    const { grad } = leaves[i]!;
    if (!grad) throw new Error(`grad_${name}: the op gave no gradient`);
    compare(golden, `grad_${name}`, grad, GRADIENT);
  });
}
