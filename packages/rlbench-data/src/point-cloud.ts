import { DataError } from "./errors.js";
import type { CounterRandom } from "./random.js";
import type { Vector3 } from "./rotation.js";

/** Coloured points in the world frame. */
export interface PointCloud {
  /** Metres, [n, 3]. */
  positions: Float32Array;
  /** RGB in [0, 1], [n, 3]. */
  colors: Float32Array;
}

/** An axis-aligned box in metres. */
export interface Bounds {
  min: Vector3;
  max: Vector3;
}

/** RLBench's workspace, in metres (PerAct's `SCENE_BOUNDS`). */
export const RLBENCH_BOUNDS: Bounds = { min: [-0.3, -0.5, 0.6], max: [0.7, 0.5, 1.6] };
/** Centre of {@link RLBENCH_BOUNDS}. */
export const RLBENCH_WORKSPACE_CENTER: Vector3 = [0.2, 0, 1.1];
/** A height just above RLBench's table top, which lies at 0.75 m. */
export const RLBENCH_TABLE_HEIGHT = 0.755;

/** Number of points in a cloud. */
export function pointCount(cloud: PointCloud): number {
  return cloud.positions.length / 3;
}

/**
 * World positions of a depth image's pixels, [height × width, 3], in metres. Pixel centres are at
 * integer (u, v); x = (u - cx) z / fx, y = (v - cy) z / fy, then the camera's extrinsics.
 *
 * @param depth metres along the optical axis, [height, width]
 * @param source name for error messages
 * @throws DataError when the image has another size, a depth is not finite, a focal length is zero, or the extrinsics
 *   are no rigid motion
 */
export function unprojectDepth(
  depth: Float32Array,
  width: number,
  height: number,
  { intrinsics, extrinsics }: { intrinsics: ArrayLike<number>; extrinsics: ArrayLike<number> },
  source: string,
): Float32Array {
  checkCalibration(intrinsics, extrinsics, source);
  if (depth.length !== width * height)
    throw new DataError(source, `depth has ${depth.length} pixels, expected ${width}×${height}`);
  const [fx, cx, fy, cy] = [intrinsics[0], intrinsics[2], intrinsics[4], intrinsics[5]];
  const e = extrinsics;
  const positions = new Float32Array(3 * depth.length);
  for (let v = 0, i = 0; v < height; v++) {
    for (let u = 0; u < width; u++, i++) {
      const z = depth[i];
      if (!Number.isFinite(z)) throw new DataError(source, `depth at pixel (${u}, ${v}) is ${z}`);
      const x = ((u - cx) / fx) * z;
      const y = ((v - cy) / fy) * z;
      positions[3 * i] = e[0] * x + e[1] * y + e[2] * z + e[3];
      positions[3 * i + 1] = e[4] * x + e[5] * y + e[6] * z + e[7];
      positions[3 * i + 2] = e[8] * x + e[9] * y + e[10] * z + e[11];
    }
  }
  return positions;
}

/** How far from 1 and 0 products of a rotation's rows may be: recorded matrices are rounded. */
const ORTHONORMAL_TOLERANCE = 1e-3;

function checkCalibration(intrinsics: ArrayLike<number>, extrinsics: ArrayLike<number>, source: string): void {
  if (intrinsics.length !== 9 || !Array.from(intrinsics).every(Number.isFinite))
    throw new DataError(source, `intrinsics are [${Array.from(intrinsics).join(", ")}], expected 9 finite numbers`);
  if (intrinsics[0] === 0 || intrinsics[4] === 0)
    throw new DataError(source, `focal lengths are ${intrinsics[0]} and ${intrinsics[4]}, expected others than 0`);
  if (extrinsics.length !== 16 || !Array.from(extrinsics).every(Number.isFinite))
    throw new DataError(source, `extrinsics are [${Array.from(extrinsics).join(", ")}], expected 16 finite numbers`);
  const e = extrinsics;
  for (let a = 0; a < 3; a++) {
    for (let b = a; b < 3; b++) {
      const product = e[4 * a] * e[4 * b] + e[4 * a + 1] * e[4 * b + 1] + e[4 * a + 2] * e[4 * b + 2];
      if (!(Math.abs(product - Number(a === b)) <= ORTHONORMAL_TOLERANCE))
        throw new DataError(source, `extrinsics are no rotation: rows ${a} and ${b} have the product ${product}`);
    }
  }
  if (e[12] !== 0 || e[13] !== 0 || e[14] !== 0 || e[15] !== 1)
    throw new DataError(source, `extrinsics end in [${e[12]}, ${e[13]}, ${e[14]}, ${e[15]}], expected [0, 0, 0, 1]`);
}

/** All points of several clouds, in order. */
export function concatPointClouds(clouds: readonly PointCloud[]): PointCloud {
  const length = clouds.reduce((sum, cloud) => sum + cloud.positions.length, 0);
  const merged: PointCloud = { positions: new Float32Array(length), colors: new Float32Array(length) };
  let at = 0;
  for (const cloud of clouds) {
    merged.positions.set(cloud.positions, at);
    merged.colors.set(cloud.colors, at);
    at += cloud.positions.length;
  }
  return merged;
}

/** Points within the box, its faces included. */
export function cropToBounds(cloud: PointCloud, { min, max }: Bounds): PointCloud {
  const inside = (axis: number, value: number): boolean => value >= min[axis] && value <= max[axis];
  return filterPoints(cloud, (x, y, z) => inside(0, x) && inside(1, y) && inside(2, z));
}

/** Points higher than `tableHeight` metres: removes the table top and all below it. */
export function removeTable(cloud: PointCloud, tableHeight: number): PointCloud {
  return filterPoints(cloud, (_x, _y, z) => z > tableHeight);
}

/**
 * One point a voxel: the mean position and mean colour of the points in it, in order of each voxel's
 * first point. A voxel's index is floor(position / voxelSize), so the grid is anchored at the world's
 * origin whatever the cloud.
 *
 * @param voxelSize edge in metres, over 0
 * @throws DataError when a point is not finite or lies more than 2^16 voxels from the origin
 */
export function voxelDownsample(cloud: PointCloud, voxelSize: number): PointCloud {
  if (!(voxelSize > 0 && voxelSize < Infinity)) throw new DataError("voxelDownsample", `voxel size is ${voxelSize}`);
  const n = pointCount(cloud);
  const table = new VoxelTable(n);
  const voxelOf = new Int32Array(n);
  for (let i = 0; i < n; i++) voxelOf[i] = table.insert(voxelKey(cloud.positions, 3 * i, voxelSize));
  const sums = new Float64Array(6 * table.size);
  const counts = new Float64Array(table.size);
  for (let i = 0; i < n; i++) {
    const voxel = voxelOf[i];
    counts[voxel]++;
    for (let axis = 0; axis < 3; axis++) {
      sums[6 * voxel + axis] += cloud.positions[3 * i + axis];
      sums[6 * voxel + 3 + axis] += cloud.colors[3 * i + axis];
    }
  }
  const reduced: PointCloud = {
    positions: new Float32Array(3 * table.size),
    colors: new Float32Array(3 * table.size),
  };
  for (let voxel = 0; voxel < table.size; voxel++) {
    for (let axis = 0; axis < 3; axis++) {
      reduced.positions[3 * voxel + axis] = sums[6 * voxel + axis] / counts[voxel];
      reduced.colors[3 * voxel + axis] = sums[6 * voxel + 3 + axis] / counts[voxel];
    }
  }
  return reduced;
}

/**
 * Indices of `count` points of a cloud of `available`, drawn by `random`: without replacement when the
 * cloud has enough; otherwise every point once, and the rest drawn again with replacement.
 *
 * @throws DataError when the cloud is empty
 */
export function samplePoints(
  available: number,
  count: number,
  random: CounterRandom,
  source = "point cloud",
): Int32Array {
  if (available === 0) throw new DataError(source, "the point cloud is empty");
  if (available >= count) return random.choose(available, count);
  const indices = new Int32Array(count);
  indices.set(random.permutation(available));
  for (let i = available; i < count; i++) indices[i] = random.below(available);
  return indices;
}

/** Copies rows of three numbers: row i of `taken` is row `indices[i]` of `values`. */
export function takeRows(values: Float32Array, indices: Int32Array, taken: Float32Array): void {
  for (let i = 0, to = 0; i < indices.length; i++, to += 3) {
    const from = 3 * indices[i];
    taken[to] = values[from];
    taken[to + 1] = values[from + 1];
    taken[to + 2] = values[from + 2];
  }
}

/** Points whose position `keep` accepts, in order. */
export function filterPoints(
  cloud: PointCloud,
  keep: (x: number, y: number, z: number, point: number) => boolean,
): PointCloud {
  const { positions, colors } = cloud;
  const kept: PointCloud = { positions: new Float32Array(positions.length), colors: new Float32Array(colors.length) };
  let at = 0;
  for (let i = 0; i < positions.length; i += 3) {
    if (!keep(positions[i], positions[i + 1], positions[i + 2], i / 3)) continue;
    for (let axis = 0; axis < 3; axis++) {
      kept.positions[at + axis] = positions[i + axis];
      kept.colors[at + axis] = colors[i + axis];
    }
    at += 3;
  }
  return { positions: kept.positions.slice(0, at), colors: kept.colors.slice(0, at) };
}

const HALF_GRID = 2 ** 16;
const GRID = 2 * HALF_GRID;

/** The exact voxel of a point: three 17-bit indices in one integer below 2^51. */
function voxelKey(positions: Float32Array, at: number, voxelSize: number): number {
  let key = 0;
  for (let axis = 0; axis < 3; axis++) {
    const bin = Math.floor(positions[at + axis] / voxelSize) + HALF_GRID;
    if (!(bin >= 0 && bin < GRID))
      throw new DataError("voxelDownsample", `point ${at / 3} at ${positions[at + axis]} m is outside the voxel grid`);
    key = key * GRID + bin;
  }
  return key;
}

/** Open-addressed hash table of voxel keys, numbered in order of first insertion. */
class VoxelTable {
  size = 0;
  private readonly keys: Float64Array;
  private readonly ids: Int32Array;
  private readonly mask: number;

  constructor(points: number) {
    const slots = 2 ** Math.ceil(Math.log2(2 * points + 2));
    this.keys = new Float64Array(slots);
    this.ids = new Int32Array(slots).fill(-1);
    this.mask = slots - 1;
  }

  insert(key: number): number {
    let slot = (Math.imul(key >>> 0, 0x9e3779b1) ^ Math.imul(Math.floor(key / 2 ** 32), 0x85ebca6b)) >>> 0;
    slot = (slot ^ (slot >>> 15)) & this.mask;
    while (this.ids[slot] >= 0) {
      if (this.keys[slot] === key) return this.ids[slot];
      slot = (slot + 1) & this.mask;
    }
    this.keys[slot] = key;
    this.ids[slot] = this.size;
    return this.size++;
  }
}
