import { DataError } from "../errors.js";
import { filterPoints, type PointCloud } from "../point-cloud.js";
import type { Vector3 } from "../rotation.js";
import { type Pose, rotateVector, rotationMatrix } from "./pose.js";

/** A box around a link of the robot, turned as the link is. The pose is that of the link's frame in the world. */
export interface LinkBox extends Pose {
  name: string;
  part: "arm" | "gripper";
  /** Corners in the link's frame, metres. */
  min: Vector3;
  max: Vector3;
}

/** How far a quaternion's length may be from 1: that of single precision, with room. */
const UNIT_TOLERANCE = 1e-3;

/**
 * Points outside of the robot's boxes.
 *
 * @param options.keepGripper leave points of the gripper, also those that a box of the arm reaches. Default true
 * @throws DataError naming the box that is not finite, is inside out, or whose quaternion has not length 1
 */
export function removeRobot(
  cloud: PointCloud,
  boxes: readonly LinkBox[],
  options: { keepGripper?: boolean } = {},
): PointCloud {
  const { keepGripper = true } = options;
  const prepared = boxes.map(prepareBox);
  const arm = prepared.filter((_, i) => boxes[i].part === "arm");
  const gripper = prepared.filter((_, i) => boxes[i].part === "gripper");
  const within = (some: readonly PreparedBox[], x: number, y: number, z: number): boolean => {
    for (const box of some) if (contains(box, x, y, z)) return true;
    return false;
  };
  return filterPoints(cloud, (x, y, z) => {
    if (within(gripper, x, y, z)) return keepGripper;
    return !within(arm, x, y, z);
  });
}

/** Centre, axes and half extents: what asking for a point takes. */
interface PreparedBox {
  center: Vector3;
  /** The world's axes to the box's, row-major. */
  axes: readonly number[];
  half: Vector3;
  /** Half extents of the upright box around it. */
  reach: Vector3;
}

function contains({ center, axes, half, reach }: PreparedBox, x: number, y: number, z: number): boolean {
  const dx = x - center[0];
  const dy = y - center[1];
  const dz = z - center[2];
  if (Math.abs(dx) > reach[0] || Math.abs(dy) > reach[1] || Math.abs(dz) > reach[2]) return false;
  return (
    Math.abs(axes[0] * dx + axes[3] * dy + axes[6] * dz) <= half[0] &&
    Math.abs(axes[1] * dx + axes[4] * dy + axes[7] * dz) <= half[1] &&
    Math.abs(axes[2] * dx + axes[5] * dy + axes[8] * dz) <= half[2]
  );
}

function prepareBox({ name, position, quaternion, min, max }: LinkBox): PreparedBox {
  const numbers = [...position, ...quaternion, ...min, ...max];
  if (!numbers.every(Number.isFinite)) throw new DataError(`box of ${name}`, `is not finite: [${numbers.join(", ")}]`);
  if (min.some((value, axis) => value > max[axis]))
    throw new DataError(`box of ${name}`, `reaches from [${min.join(", ")}] to [${max.join(", ")}]`);
  const length = Math.hypot(...quaternion);
  if (!(Math.abs(length - 1) <= UNIT_TOLERANCE))
    throw new DataError(`box of ${name}`, `has a quaternion of length ${length}, expected 1`);
  const axes = rotationMatrix(quaternion);
  const middle = rotateVector(quaternion, [(min[0] + max[0]) / 2, (min[1] + max[1]) / 2, (min[2] + max[2]) / 2]);
  const half: Vector3 = [(max[0] - min[0]) / 2, (max[1] - min[1]) / 2, (max[2] - min[2]) / 2];
  const reach = (row: number): number =>
    Math.abs(axes[row]) * half[0] + Math.abs(axes[row + 1]) * half[1] + Math.abs(axes[row + 2]) * half[2];
  return {
    center: [position[0] + middle[0], position[1] + middle[1], position[2] + middle[2]],
    axes,
    half,
    reach: [reach(0), reach(3), reach(6)],
  };
}
