import { DataError } from "../errors.js";
import { pointCount, type PointCloud, samplePoints } from "../point-cloud.js";
import type { CounterRandom } from "../random.js";
import type { Vector3 } from "../rotation.js";

/** How points of a cloud are drawn: all alike, or those near the gripper more often. */
export type Sampling = "uniform" | "near gripper";

/** Within this distance, in metres, all points are as likely. */
const NEAR = 0.1;

/**
 * Indices of `count` points of a cloud, points near `position` more likely: weight exp(1 / max(distance, 0.1 m)), as
 * 3D-LOTUS samples by distance to the gripper. Without replacement when the cloud has enough points; otherwise as
 * {@link samplePoints}.
 *
 * The order of -ln(u) / weight is that of successive draws without replacement (Efraimidis and Spirakis, "Weighted
 * random sampling with a reservoir", 2006).
 *
 * @throws DataError when the cloud is empty or the position not finite
 */
export function samplePointsNear(
  cloud: PointCloud,
  position: Vector3,
  count: number,
  random: CounterRandom,
  source = "point cloud",
): Int32Array {
  const n = pointCount(cloud);
  if (n <= count) return samplePoints(n, count, random, source);
  if (!position.every(Number.isFinite))
    throw new DataError(source, `points near [${position.join(", ")}] are asked for, expected a finite position`);
  const keys = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const dx = cloud.positions[3 * i] - position[0];
    const dy = cloud.positions[3 * i + 1] - position[1];
    const dz = cloud.positions[3 * i + 2] - position[2];
    const distance = Math.sqrt(dx * dx + dy * dy + dz * dz);
    // 1 - u lies in (0, 1].
    keys[i] = -Math.log(1 - random.uniform()) * Math.exp(-1 / Math.max(distance, NEAR));
  }
  const limit = select(keys.slice(), count - 1);
  const indices = new Int32Array(count);
  let taken = 0;
  for (let i = 0; i < n && taken < count; i++) if (keys[i] < limit) indices[taken++] = i;
  for (let i = 0; i < n && taken < count; i++) if (keys[i] === limit) indices[taken++] = i;
  return indices;
}

/** The number that would be at `rank` if `values` were sorted; shuffles them (Hoare's quickselect). */
function select(values: Float64Array, rank: number): number {
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const pivot = values[(low + high) >> 1];
    let i = low;
    let j = high;
    while (i <= j) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i > j) break;
      const swap = values[i];
      values[i++] = values[j];
      values[j--] = swap;
    }
    if (rank <= j) high = j;
    else if (rank >= i) low = i;
    else break;
  }
  return values[rank];
}
