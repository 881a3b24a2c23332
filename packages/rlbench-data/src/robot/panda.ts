import { DataError } from "../errors.js";
import { multiplyQuaternions, type Vector3 } from "../rotation.js";
import type { LinkBox } from "./link-box.js";
import { composePoses, type Pose } from "./pose.js";

const QUARTER = Math.PI / 2;
export const PANDA_JOINTS = 7;

/**
 * Denavit-Hartenberg parameters after Craig: a (metres), d (metres), alpha (radians) of each joint, as published by
 * Franka Emika (Franka Control Interface documentation, "Denavit-Hartenberg parameters").
 */
const JOINTS: readonly (readonly [a: number, d: number, alpha: number])[] = [
  [0, 0.333, 0],
  [0, 0, -QUARTER],
  [0, 0.316, QUARTER],
  [0.0825, 0, QUARTER],
  [-0.0825, 0.384, -QUARTER],
  [0, 0, QUARTER],
  [0.088, 0, QUARTER],
];
/** From the frame of joint 7 to the flange, metres along z; the same source. */
const FLANGE = 0.107;
/** The hand is turned against the flange, radians about z; the same source. */
const HAND_TURN = -Math.PI / 4;

/**
 * RLBench's scene: the base in the world, what its model adds to the angle of joint 4, and the tip in the frame of
 * joint 7. Fitted to joint positions and gripper poses recorded at rest in twelve demonstrations, which the result
 * meets to 0.7 mm. Moving joints of the simulation give way by up to 4 mm.
 */
const RLBENCH_BASE: Pose = { position: [-0.2683, -0.0062, 0.7498], quaternion: [0, 0, 0, 1] };
const RLBENCH_JOINT_4 = 0.069;
const RLBENCH_TIP: Pose = { position: [0.0015, 0.0014, 0.2172], quaternion: turnAboutZ((3 * Math.PI) / 4) };

/**
 * Box of each link in the frame of its joint (link 0: of the base), metres: where pixels of the link lay in masks of
 * recorded demonstrations, completed by the arm's symmetry, 5 mm added. The collision meshes of links 5 and 6 in Franka
 * Emika's `franka_description` have the same extents to 5 mm.
 */
const ARM_BOXES: readonly (readonly [min: Vector3, max: Vector3])[] = [
  [
    [-0.142, -0.1, -0.005],
    [0.077, 0.1, 0.147],
  ],
  [
    [-0.061, -0.136, -0.197],
    [0.061, 0.061, 0.061],
  ],
  [
    [-0.061, -0.203, -0.063],
    [0.061, 0.061, 0.136],
  ],
  [
    [-0.061, -0.063, -0.126],
    [0.144, 0.116, 0.062],
  ],
  [
    [-0.144, -0.061, -0.06],
    [0.06, 0.133, 0.116],
  ],
  [
    [-0.06, -0.06, -0.265],
    [0.06, 0.135, 0.058],
  ],
  [
    [-0.052, -0.058, -0.05],
    [0.137, 0.088, 0.061],
  ],
  [
    [-0.051, -0.051, 0.044],
    [0.089, 0.088, 0.107],
  ],
];
/** Of the hand and of its connector in the hand's frame, which lies in the flange. */
const HAND_BOXES: readonly (readonly [name: string, min: Vector3, max: Vector3])[] = [
  ["hand", [-0.036, -0.108, -0.003], [0.036, 0.108, 0.07]],
  ["connector", [-0.013, -0.108, -0.037], [0.013, -0.038, 0]],
];
/** Of a finger, seen from the hand; y counts from the finger's own position outward. */
const FINGER_BOX: readonly [min: Vector3, max: Vector3] = [
  [-0.015, -0.004, 0.05],
  [0.015, 0.033, 0.116],
];

/**
 * Boxes around the links of RLBench's Panda, in the world frame.
 *
 * @param jointPositions radians, [7]
 * @param gripperJointPositions metres of each finger from the middle, [2]
 * @throws DataError when there are fewer or more numbers, or one is not finite
 */
export function pandaLinkBoxes(jointPositions: ArrayLike<number>, gripperJointPositions: ArrayLike<number>): LinkBox[] {
  checkNumbers("gripper_joint_positions", gripperJointPositions, 2);
  const frames = jointFrames(jointPositions);
  const hand = composePoses(frames[PANDA_JOINTS], { position: [0, 0, FLANGE], quaternion: turnAboutZ(HAND_TURN) });
  const [[minX, inner, minZ], [maxX, outer, maxZ]] = FINGER_BOX;
  const [first, second] = [gripperJointPositions[0], gripperJointPositions[1]];
  return [
    ...ARM_BOXES.map(([min, max], i): LinkBox => ({ name: `link${i}`, part: "arm", ...frames[i], min, max })),
    ...HAND_BOXES.map(([name, min, max]): LinkBox => ({ name, part: "gripper", ...hand, min, max })),
    {
      name: "finger1",
      part: "gripper",
      ...hand,
      min: [minX, first + inner, minZ],
      max: [maxX, first + outer, maxZ],
    },
    {
      name: "finger2",
      part: "gripper",
      ...hand,
      min: [minX, -second - outer, minZ],
      max: [maxX, -second - inner, maxZ],
    },
  ];
}

/**
 * Pose of the gripper's tip in RLBench's world, by forward kinematics.
 *
 * @param jointPositions radians, [7]
 * @throws DataError when there are fewer or more numbers, or one is not finite
 */
export function pandaTipPose(jointPositions: ArrayLike<number>): Pose {
  return composePoses(jointFrames(jointPositions)[PANDA_JOINTS], RLBENCH_TIP);
}

/** The base's frame and that of each joint, in the world. */
function jointFrames(jointPositions: ArrayLike<number>): Pose[] {
  checkNumbers("joint_positions", jointPositions, PANDA_JOINTS);
  const frames = [RLBENCH_BASE];
  JOINTS.forEach(([a, d, alpha], joint) => {
    const angle = jointPositions[joint] + (joint === 3 ? RLBENCH_JOINT_4 : 0);
    const step: Pose = {
      position: [a, -d * Math.sin(alpha), d * Math.cos(alpha)],
      quaternion: multiplyQuaternions([Math.sin(alpha / 2), 0, 0, Math.cos(alpha / 2)], turnAboutZ(angle)),
    };
    frames.push(composePoses(frames[joint], step));
  });
  return frames;
}

function turnAboutZ(radians: number): [number, number, number, number] {
  return [0, 0, Math.sin(radians / 2), Math.cos(radians / 2)];
}

function checkNumbers(name: string, values: ArrayLike<number>, count: number): void {
  if (values.length !== count || !Array.from(values).every(Number.isFinite))
    throw new DataError(name, `is [${Array.from(values).join(", ")}], expected ${count} finite numbers`);
}
