import { DataError } from "../errors.js";
import type { LinkBox } from "./link-box.js";

/** Links of RLBench's robots that belong to the gripper, by what their names contain. */
const GRIPPER = /finger|gripper|hand/i;

/**
 * A box as RLBench's simulator tells it, and 3D-LOTUS's key steps store it.
 *
 * @param link.name such as `Panda_link3_respondable`
 * @param link.box metres in the link's frame: least and most x, then y, then z, [6]
 * @param link.pose of the link's frame in the world: metres, then quaternion xyzw, [7]
 * @throws DataError naming the link when there are fewer or more numbers
 */
export function storedLinkBox(link: { name: string; box: ArrayLike<number>; pose: ArrayLike<number> }): LinkBox {
  const { name, box, pose } = link;
  if (box.length !== 6 || pose.length !== 7)
    throw new DataError(`box of ${name}`, `has ${box.length} and ${pose.length} numbers, expected 6 and 7`);
  return {
    name,
    part: GRIPPER.test(name) ? "gripper" : "arm",
    position: [pose[0], pose[1], pose[2]],
    quaternion: [pose[3], pose[4], pose[5], pose[6]],
    min: [box[0], box[2], box[4]],
    max: [box[1], box[3], box[5]],
  };
}
