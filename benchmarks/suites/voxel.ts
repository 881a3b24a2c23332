import { indexSelect, localKernelMap, localKernelQuery, type Tensor, VoxelHash, zeros } from "@md/tensor";
import { alongCurve, type Bind, random, type Suite, withGradients } from "../suite.js";
import type { HostTensor } from "../peers/protocol.js";
import { surfaceCells } from "../scenes.js";

// Points of one item, one a voxel of edge 1 on average, in a cube: a voxel has some 17 neighbours.
function cloud(points: number): HostTensor {
  const edge = Math.cbrt(points);
  const { shape, data } = random([points, 3], 1);
  return { shape, data: (data as Float32Array).map((value) => ((value + 1) / 2) * edge) };
}

/** Every so-manieth point once more, in its own voxel. */
function someOf({ shape: [points], data }: HostTensor, count: number): HostTensor {
  const step = Math.floor(points! / count);
  const some = Array.from({ length: count }, (_, i) => [...data.subarray(3 * i * step, 3 * (i * step + 1))]);
  return { shape: [count, 3], data: Float32Array.from(some.flat()) };
}

const items = (points: Tensor): Tensor => zeros([points.shape[0]], { dtype: "i32", device: points.device });
const build = (points: Tensor): VoxelHash => VoxelHash.build(points, items(points), { voxelSize: 1 });

const hashOnly: Bind =
  ([points]) =>
  () => [build(points).voxelOfPoint];

const neighboursOnly: Bind = ([points]) => {
  const hash = build(points);
  return () => [hash.neighboursOfVoxels()];
};

const hashAndNeighbours: Bind =
  ([points]) =>
  () => {
    const hash = build(points);
    return [hash.voxelOfPoint, hash.neighboursOfVoxels()];
  };

/** inputs: points, queries, features, weight, cotangent; outputs: result, gradients of features and weight. */
const localQuery: Bind = ([points, queries, ...rest]) => {
  const hash = build(points);
  const item = items(queries);
  const forward = (features: Tensor, weight: Tensor): Tensor =>
    localKernelQuery(hash.localKernelMap(queries, item), hash.mean(features), weight);
  return withGradients(forward, 2)(rest);
};

const convolvedEverywhere: Bind = ([points, queries, ...rest]) => {
  const hash = build(points);
  const item = items(queries);
  const forward = (features: Tensor, weight: Tensor): Tensor => {
    const map = localKernelMap(hash.neighboursOfVoxels(), hash.size);
    return indexSelect(localKernelQuery(map, hash.mean(features), weight), 0, hash.lookup(queries, item));
  };
  return withGradients(forward, 2)(rest);
};

// One point a voxel of a surface, which is what averaging by voxels leaves of depth images; in their order, so that their
// means are a view.
const surface = (points: number): HostTensor => ({
  shape: [points, 3],
  data: Float32Array.from(surfaceCells(points), (cell) => cell + 0.5),
});

const queryInputs = (points: number, queries: number, channels: number) => (): HostTensor[] => {
  const scene = surface(points);
  return [
    scene,
    someOf(scene, queries),
    random([points, channels], 2),
    random([27, channels, channels], 3),
    random([queries, channels], 4),
  ];
};

const sizes = [1000, 3000, 10_000, 30_000, 100_000];

/** Voxels of point clouds: hashing, neighbours, and the local kernel query of Mini-Diffuser (Eqs. 15-18). */
export const voxelSuite: Suite = {
  name: "voxel",
  cases: [
    {
      name: "hash of 100,000 points and map of 27 neighbours",
      inputs: () => [cloud(100_000)],
      bind: hashAndNeighbours,
      peer: { op: "voxelHashNeighbours" },
      countsFor: ["voxel-hash"],
    },
    {
      name: "local query, 256 of 4000 points, 72 channels, forward and backward",
      inputs: queryInputs(4000, 256, 72),
      bind: localQuery,
      baseline: { name: "convolved everywhere", bind: convolvedEverywhere, sameResult: true },
      peer: { op: "localQueryGrad" },
      countsFor: ["local-query"],
    },
    ...alongCurve(
      sizes.map((points) => ({
        name: `hash of ${points} points`,
        inputs: () => [cloud(points)],
        bind: hashOnly,
        threads: "one",
        curve: { name: "voxel hash", x: points },
        countsFor: ["growth-hash", "growth-memory"],
      })),
    ),
    ...alongCurve(
      sizes.map((points) => ({
        name: `neighbours of ${points} points`,
        inputs: () => [cloud(points)],
        bind: neighboursOnly,
        threads: "one",
        curve: { name: "neighbour map", x: points },
        countsFor: ["growth-neighbours", "growth-memory"],
      })),
    ),
    ...alongCurve(
      sizes.map((points) => ({
        name: `local query at all of ${points} points, 36 channels, forward and backward`,
        inputs: queryInputs(points, points, 36),
        bind: localQuery,
        threads: "one",
        curve: { name: "local query", x: points },
        countsFor: ["growth-query", "growth-memory"],
      })),
    ),
  ],
};
