import * as md from "../../src/index.js";
import type { OpCase, OperandSpec, Tensor } from "../../src/index.js";

const points: OperandSpec = { shape: [12, 3], range: [-0.6, 0.6], grad: false };
const pointBatch: OperandSpec = { shape: [12], dtype: "i32", values: [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1] };
const queries: OperandSpec = { shape: [5, 3], range: [-0.9, 0.9], grad: false };
const queryBatch: OperandSpec = { shape: [5], dtype: "i64", values: [0, 0, 1, 1, 2] };
const grid = { voxelSize: 0.5, origin: [0.1, 0, -0.1] as const };
const origin = grid.origin;

const build = (p: Tensor, batch: Tensor): md.VoxelHash =>
  md.VoxelHash.build(p, batch, { voxelSize: grid.voxelSize, origin: [...origin] });

const keyOf = (p: number[], batch: number[], row: number): number[] => [
  batch[row]!,
  ...origin.map((o, axis) => Math.floor((p[3 * row + axis]! - o) / grid.voxelSize)),
];
const compareKeys = (a: number[], b: number[]): number => a.map((v, i) => v - b[i]!).find((d) => d !== 0) ?? 0;

/** The voxels in order, and the points in each. */
function denseVoxels(p: number[], batch: number[]): { key: number[]; points: number[] }[] {
  const byName = new Map<string, { key: number[]; points: number[] }>();
  for (let row = 0; row < batch.length; row++) {
    const key = keyOf(p, batch, row);
    const voxel = byName.get(String(key)) ?? { key, points: [] };
    voxel.points.push(row);
    byName.set(String(key), voxel);
  }
  return [...byName.values()].sort((a, b) => compareKeys(a.key, b.key));
}

const offsets = Array.from({ length: 27 }, (_, k) => [Math.floor(k / 9) - 1, (Math.floor(k / 3) % 3) - 1, (k % 3) - 1]);

function denseNeighbours(keys: number[][], voxels: { key: number[] }[]): number[] {
  return keys.flatMap(([batch, ...bins]) =>
    offsets.map((offset) => {
      const wanted = String([batch, ...bins.map((bin, axis) => bin + offset[axis]!)]);
      return voxels.findIndex((voxel) => String(voxel.key) === wanted);
    }),
  );
}

function denseMeans(features: number[], channels: number, voxels: { points: number[] }[]): number[][] {
  return voxels.map((voxel) =>
    Array.from(
      { length: channels },
      (_, c) => voxel.points.reduce((sum, p) => sum + features[p * channels + c]!, 0) / voxel.points.length,
    ),
  );
}

/** Two channels of three, by a weight that `kernel` makes the op's; its row for output channel o and offset k is `rowOf`. */
function queryRow(
  name: string,
  shape: number[],
  kernel: (weight: md.Tensor) => md.Tensor,
  rowOf: (o: number, k: number) => number,
): OpCase {
  return {
    primitives: ["localKernelMap", "localKernelQuery", "localKernelQueryGrad"],
    name: `local kernel query${name}`,
    inputs: [points, pointBatch, queries, queryBatch, { shape: [12, 3] }, { shape }],
    run: (p, batch, q, qBatch, features, weight) => {
      const hash = build(p, batch);
      return md.localKernelQuery(hash.localKernelMap(q, qBatch), hash.mean(features), kernel(weight));
    },
    reference: (p, batch, q, qBatch, features, weight) => {
      const voxels = denseVoxels(p, batch);
      const means = denseMeans(features, 3, voxels);
      const neighbours = denseNeighbours(
        qBatch.map((_, row) => keyOf(q, qBatch, row)),
        voxels,
      );
      return qBatch.flatMap((_, row) =>
        [0, 1].map((o) =>
          offsets.reduce((sum, _offset, k) => {
            const mean = means[neighbours[27 * row + k]!] ?? [0, 0, 0];
            return mean.reduce((total, value, c) => total + value * weight[3 * rowOf(o, k) + c]!, sum);
          }, 0),
        ),
      );
    },
  };
}

export const voxelCases: OpCase[] = [
  {
    primitives: ["voxelHash"],
    name: "voxel hash: coordinates, voxel of each point, order and offsets",
    inputs: [points, pointBatch],
    run: (p, batch) => {
      const hash = build(p, batch);
      return [hash.coordinates, hash.voxelOfPoint, hash.pointOrder, hash.voxelOffsets];
    },
    reference: (p, batch) => {
      const voxels = denseVoxels(p, batch);
      let start = 0;
      return [
        voxels.flatMap((voxel) => voxel.key),
        batch.map((_, row) => voxels.findIndex((voxel) => voxel.points.includes(row))),
        voxels.flatMap((voxel) => voxel.points),
        [0, ...voxels.map((voxel) => (start += voxel.points.length))],
      ];
    },
    gradient: false,
  },
  {
    primitives: ["voxelLookup", "voxelNeighbours", "neighboursOfVoxels"],
    name: "voxel look-up and neighbourhoods",
    inputs: [points, pointBatch, queries, queryBatch],
    run: (p, batch, q, qBatch) => {
      const hash = build(p, batch);
      return [hash.lookup(q, qBatch), hash.neighbours(q, qBatch), hash.neighboursOfVoxels()];
    },
    reference: (p, batch, q, qBatch) => {
      const voxels = denseVoxels(p, batch);
      const keys = qBatch.map((_, row) => keyOf(q, qBatch, row));
      return [
        keys.map((key) => voxels.findIndex((voxel) => String(voxel.key) === String(key))),
        denseNeighbours(keys, voxels),
        denseNeighbours(
          voxels.map((voxel) => voxel.key),
          voxels,
        ),
      ];
    },
    gradient: false,
  },
  {
    primitives: ["segmentMean", "segmentReduceGrad"],
    name: "mean features a voxel",
    inputs: [points, pointBatch, { shape: [12, 5] }],
    run: (p, batch, features) => build(p, batch).mean(features),
    reference: (p, batch, features) => denseMeans(features, 5, denseVoxels(p, batch)).flat(),
  },
  queryRow(
    "",
    [27, 2, 3],
    (weight) => weight,
    (o, k) => 2 * k + o,
  ),
  queryRow(
    " by a convolution's weight",
    [2, 27, 3],
    (weight) => weight.permute([1, 0, 2]),
    (o, k) => 27 * o + k,
  ),
  {
    primitives: ["localKernelQuery", "segmentMean"],
    name: "local kernel query of no points and no queries",
    inputs: [{ shape: [0, 3], grad: false }, { shape: [0], dtype: "i32" }, { shape: [0, 4] }, { shape: [27, 4, 4] }],
    run: (p, batch, features, weight) => {
      const hash = build(p, batch);
      return md.localKernelQuery(hash.localKernelMap(p, batch), hash.mean(features), weight);
    },
  },
];
