import { DataError, partOf } from "../errors.js";
import {
  type Bounds,
  cropToBounds,
  pointCount,
  type PointCloud,
  removeTable,
  RLBENCH_BOUNDS,
  RLBENCH_TABLE_HEIGHT,
  voxelDownsample,
} from "../point-cloud.js";
import { type LinkBox, removeRobot } from "../robot/link-box.js";
import { removeLocalOutliers, removeStatisticalOutliers } from "./outliers.js";

/** What of the robot is removed: nothing, the arm without the gripper, or both. */
export type RobotRemoval = "nothing" | "arm" | "arm and gripper";

/** How an observed cloud is prepared, once, before training. */
export interface PrepareOptions {
  /** Points outside are dropped. Default {@link RLBENCH_BOUNDS}. */
  bounds?: Bounds;
  /** Points up to this height in metres are dropped; null keeps the table. Default {@link RLBENCH_TABLE_HEIGHT}. */
  tableHeight?: number | null;
  /** What is removed of the robot. Default "nothing". */
  removeRobot?: RobotRemoval;
  /** Edge of the down-sampling voxels in metres. Default 0.01. */
  voxelSize?: number;
  /** How stray points of real cameras are dropped, with each method's defaults. Default "none". */
  outliers?: "none" | "statistical" | "local";
}

/**
 * Prepares a cloud as the paper's training does: workspace crop, table, robot, voxel means, outliers, in this order.
 *
 * @param source name for error messages
 * @param robot boxes around the robot's links, where `options.removeRobot` asks for them
 * @throws DataError when a position is not finite, boxes are asked for and not there, or no point is left
 */
export function prepareCloud(
  cloud: PointCloud,
  options: PrepareOptions,
  source: string,
  robot?: readonly LinkBox[],
): PointCloud {
  const { bounds = RLBENCH_BOUNDS, tableHeight = RLBENCH_TABLE_HEIGHT, voxelSize = 0.01 } = options;
  if (!cloud.positions.every(Number.isFinite))
    throw new DataError(source, "the point cloud has positions that are not finite");
  const cropped = cropToBounds(cloud, bounds);
  const cleared = tableHeight === null ? cropped : removeTable(cropped, tableHeight);
  if (pointCount(cleared) === 0)
    throw new DataError(source, "the point cloud is empty after workspace crop and table removal");
  const scene = withoutRobot(cleared, options.removeRobot ?? "nothing", source, robot);
  const reduced = withoutOutliers(voxelDownsample(scene, voxelSize), options.outliers ?? "none");
  if (pointCount(reduced) === 0) throw new DataError(source, "the point cloud has nothing but robot and outliers");
  return reduced;
}

function withoutRobot(
  cloud: PointCloud,
  removal: RobotRemoval,
  source: string,
  boxes?: readonly LinkBox[],
): PointCloud {
  if (removal === "nothing") return cloud;
  if (boxes === undefined)
    throw new DataError(source, "has neither boxes of the robot's links nor joint positions, which removing it takes");
  return partOf(source, () => removeRobot(cloud, boxes, { keepGripper: removal === "arm" }));
}

function withoutOutliers(cloud: PointCloud, method: "none" | "statistical" | "local"): PointCloud {
  if (method === "none") return cloud;
  return method === "statistical" ? removeStatisticalOutliers(cloud) : removeLocalOutliers(cloud);
}
