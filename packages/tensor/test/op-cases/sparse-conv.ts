import * as md from "../../src/index.js";
import type { NeighbourKernelSize, OpCase, OperandSpec, Tensor } from "../../src/index.js";

/** Distinct voxels (batch, x, y, z), in no order. */
const sites: readonly (readonly number[])[] = [
  [1, 0, 0, 0],
  [0, 2, 0, 1],
  [0, 0, 0, 0],
  [0, 0, 0, 1],
  [0, 1, 1, 0],
  [0, 1, 1, -1],
  [0, -3, 5, 40],
  [1, 1, 0, 0],
  [0, 2, 2, 2],
];
/** The same in the order of their keys, which is that of the convolution's rows. */
const ordered = [...sites].sort((a, b) => a.map((v, i) => v - b[i]!).find((d) => d !== 0) ?? 0);

const points: OperandSpec = { shape: [sites.length, 3], values: sites.flatMap((site) => site.slice(1)), grad: false };
const batch: OperandSpec = { shape: [sites.length], dtype: "i32", values: sites.map((site) => site[0]!) };

const mapOf = (p: Tensor, b: Tensor, kernelSize: NeighbourKernelSize): md.NeighbourMap =>
  md.VoxelHash.build(p, b, { voxelSize: 1 }).neighbourMap(kernelSize);

/** The row at offset k of a row, or -1. */
function neighbour(row: number, k: number, size: number): number {
  const offset = [0, Math.floor(k / size ** 2), Math.floor(k / size) % size, k % size];
  const wanted = ordered[row]!.map((v, axis) => v + (axis === 0 ? 0 : offset[axis]! - (size - 1) / 2));
  return ordered.findIndex((site) => String(site) === String(wanted));
}

function convolve(size: number, x: number[], weight: number[], bias?: number[]): number[] {
  const channels = x.length / ordered.length;
  const out = weight.length / (size ** 3 * channels);
  return ordered.flatMap((_, row) =>
    Array.from({ length: out }, (_v, o) => {
      let total = bias ? bias[o]! : 0;
      for (let k = 0; k < size ** 3; k++) {
        const from = neighbour(row, k, size);
        if (from < 0) continue;
        for (let c = 0; c < channels; c++)
          total += weight[(o * size ** 3 + k) * channels + c]! * x[from * channels + c]!;
      }
      return total;
    }),
  );
}

export const sparseConvCases: OpCase[] = [
  {
    primitives: ["mapPairs", "submConv3d", "submConv3dGrad"],
    name: "submanifold convolution of size 3, with bias",
    inputs: [points, batch, { shape: [9, 3] }, { shape: [5, 3, 3, 3, 3] }, { shape: [5] }],
    run: (p, b, x, weight, bias) => md.submConv3d(mapOf(p, b, 3), x, weight, { bias }),
    reference: (_p, _b, x, weight, bias) => convolve(3, x, weight, bias),
  },
  {
    primitives: ["submConv3d", "submConv3dGrad"],
    name: "submanifold convolution of size 5",
    inputs: [points, batch, { shape: [9, 2] }, { shape: [1, 5, 5, 5, 2] }],
    run: (p, b, x, weight) => md.submConv3d(mapOf(p, b, 5), x, weight),
    reference: (_p, _b, x, weight) => convolve(5, x, weight),
  },
  {
    primitives: ["submConv3d"],
    name: "submanifold convolution of no voxels, and of no channels",
    inputs: [
      { shape: [0, 3], grad: false },
      { shape: [0], dtype: "i32" },
      { shape: [0, 2] },
      { shape: [2, 3, 3, 3, 2] },
      points,
      batch,
      { shape: [9, 0] },
      { shape: [2, 3, 3, 3, 0] },
      { shape: [2] },
    ],
    run: (noPoints, noBatch, x, weight, p, b, empty, emptyWeight, bias) => [
      md.submConv3d(mapOf(noPoints, noBatch, 3), x, weight),
      md.submConv3d(mapOf(p, b, 3), empty, emptyWeight, { bias }),
    ],
    reference: (_np, _nb, _x, _w, _p, _b, _e, _ew, bias) => [[], ordered.flatMap(() => bias)],
  },
];
