import { partOf } from "../errors.js";
import type { LinkBox } from "../robot/link-box.js";
import { pandaLinkBoxes } from "../robot/panda.js";
import type { LowDim } from "./low-dim.js";

/** Boxes around the robot's links at a frame; null where the recording has no joint positions. */
export function linkBoxesOf({ file, frames }: LowDim): ((frame: number) => readonly LinkBox[]) | null {
  const told = frames.every((frame) => frame.jointPositions !== null && frame.gripperJointPositions !== null);
  if (!told) return null;
  return (frame) => {
    const { jointPositions, gripperJointPositions } = frames[frame];
    return partOf(file, () => pandaLinkBoxes(jointPositions!, gripperJointPositions!));
  };
}
