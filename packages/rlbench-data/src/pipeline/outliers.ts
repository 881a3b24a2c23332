import { DataError } from "../errors.js";
import { filterPoints, pointCount, type PointCloud } from "../point-cloud.js";
import { findNeighbors } from "./neighbors.js";

/** scikit-learn's threshold of `LocalOutlierFactor` where the share of outliers is not known. */
const LOCAL_OUTLIER_FACTOR = 1.5;
/** Keeps the density of coinciding points finite, as scikit-learn does. */
const DENSITY_FLOOR = 1e-10;

/**
 * Drops points whose mean distance to their nearest neighbours is more than `deviations` standard deviations above the
 * mean of all points (Rusu et al., "Towards 3D point cloud based object maps", 2008; Open3D's
 * `remove_statistical_outlier`). A cloud of no more points than neighbours is returned as it is.
 *
 * @param options.neighbors default 20
 * @param options.deviations default 2
 * @throws DataError when a point is not finite or an option makes no sense
 */
export function removeStatisticalOutliers(
  cloud: PointCloud,
  options: { neighbors?: number; deviations?: number } = {},
): PointCloud {
  const { neighbors = 20, deviations = 2 } = options;
  if (!(deviations > 0 && deviations < Infinity))
    throw new DataError("removeStatisticalOutliers", `deviations is ${deviations}, expected a number above 0`);
  const n = pointCount(cloud);
  if (n <= neighbors) return cloud;
  const { k, distances } = findNeighbors(cloud, neighbors);
  const means = new Float64Array(n);
  for (let i = 0; i < n; i++) for (let j = 0; j < k; j++) means[i] += distances[i * k + j] / k;
  const mean = means.reduce((sum, value) => sum + value, 0) / n;
  const variance = means.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, n - 1);
  const limit = mean + deviations * Math.sqrt(variance);
  return filterPoints(cloud, (_x, _y, _z, point) => means[point] <= limit);
}

/**
 * Drops points that lie in much thinner surroundings than their neighbours do: local outlier factor above 1.5 (Breunig
 * et al., "LOF: identifying density-based local outliers", SIGMOD 2000; the removal of 3D-LOTUS, which calls
 * scikit-learn's `LocalOutlierFactor`). A cloud of no more points than neighbours is returned as it is.
 *
 * @param options.neighbors default 25
 * @throws DataError when a point is not finite or an option makes no sense
 */
export function removeLocalOutliers(cloud: PointCloud, options: { neighbors?: number } = {}): PointCloud {
  const { neighbors = 25 } = options;
  const n = pointCount(cloud);
  if (n <= neighbors) return cloud;
  const { k, indices, distances } = findNeighbors(cloud, neighbors);
  const density = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let reach = 0;
    for (let at = i * k; at < (i + 1) * k; at++) reach += Math.max(distances[at], distances[indices[at] * k + k - 1]);
    density[i] = 1 / (reach / k + DENSITY_FLOOR);
  }
  return filterPoints(cloud, (_x, _y, _z, point) => {
    let around = 0;
    for (let at = point * k; at < (point + 1) * k; at++) around += density[indices[at]];
    return around / k / density[point] <= LOCAL_OUTLIER_FACTOR;
  });
}
