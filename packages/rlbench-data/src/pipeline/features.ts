import { DataError } from "../errors.js";
import { pointCount, type PointCloud } from "../point-cloud.js";
import type { Vector3 } from "../rotation.js";

/**
 * Mean position of a cloud, to centre a scene by.
 *
 * @throws DataError when the cloud is empty
 */
export function centroid({ positions }: PointCloud): Vector3 {
  if (positions.length === 0) throw new DataError("centroid", "the point cloud is empty");
  const sums = [0, 0, 0];
  for (let i = 0; i < positions.length; i++) sums[i % 3] += positions[i];
  const n = positions.length / 3;
  return [sums[0] / n, sums[1] / n, sums[2] / n];
}

/** The cloud seen from `center`. What it is compared with, such as poses, moves by `-center` too. */
export function centerCloud({ positions, colors }: PointCloud, center: Vector3): PointCloud {
  return { positions: positions.map((value, i) => value - center[i % 3]), colors };
}

/**
 * Height of each point above the table, metres, [n]: a feature that centring would lose.
 *
 * @param tableHeight metres, in the frame of the cloud
 */
export function heightFeature(cloud: PointCloud, tableHeight: number): Float32Array {
  return Float32Array.from({ length: pointCount(cloud) }, (_, i) => cloud.positions[3 * i + 2] - tableHeight);
}

/** Colours of [0, 1] in [-1, 1], [n, 3]. */
export function scaleColors(colors: Float32Array): Float32Array {
  return colors.map((value) => 2 * value - 1);
}
