import { expect, test } from "vitest";
import { DataError, discoverKeyPoses, type LowDimFrame } from "../src/index.js";

/** Frames from a picture: `.` moving, `s` still, capital = gripper closed (`M` moving, `S` still). */
function framesOf(picture: string): LowDimFrame[] {
  return [...picture].map((state) => ({
    gripperPose: new Float64Array(7),
    gripperOpen: state === "M" || state === "S" ? 0 : 1,
    jointPositions: null,
    gripperJointPositions: null,
    jointVelocities: Float64Array.of(state.toLowerCase() === "s" ? 0.1 : -0.2, 0),
    cameras: new Map(),
  }));
}

test.for<[string, number[]]>([
  ["......", [5]],
  // The gripper closes at 3; it opens again at 6.
  ["...MMM......", [3, 6, 11]],
  // Still from 3 to 5: the first frame counts, the buffer of 4 swallows the rest.
  ["...sss......", [3, 11]],
  // Still for long: again once the buffer has run down.
  ["...sssssss......", [3, 8, 15]],
  // Of two last ones in a row only the second is kept.
  ["....M", [4]],
  ["...MM", [4]],
  // Still at the start is no key pose, and starts the buffer.
  ["ss........", [9]],
  ["s...s.....", [9]],
  [".", []],
  ["..", [1]],
  ["s.s", [2]],
])("key poses of %j", ([picture, expected]) => {
  expect(discoverKeyPoses(framesOf(picture))).toEqual(expected);
});

test("key poses need joint velocities", () => {
  const frames = framesOf("...");
  frames[1].jointVelocities = null;
  expect(() => discoverKeyPoses(frames, "low_dim_obs.pkl")).toThrow(DataError);
});
