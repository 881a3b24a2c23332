import type { RecordedEpisode } from "./episode-source.js";
import { DataError } from "./errors.js";
import { discoverKeyPoses } from "./key-poses.js";
import { observationCloud } from "./observation-cloud.js";
import type { PointCloud } from "./point-cloud.js";
import type { LinkBox } from "./robot/link-box.js";
import { readPointCloud, RLBENCH_CAMERAS } from "./rlbench/camera.js";
import type { Episode } from "./rlbench/episodes.js";
import { type Instructions, readInstructions } from "./rlbench/instructions.js";
import { readLowDim } from "./rlbench/low-dim.js";
import { linkBoxesOf } from "./rlbench/robot.js";

/** Where the gripper is and whether it is open. */
export interface GripperState {
  /** Metres, world frame. */
  position: [number, number, number];
  /** xyzw. */
  quaternion: [number, number, number, number];
  /** 1 open, 0 closed. */
  open: number;
}

/** One demonstration, from disk or from anywhere else: states, key poses, and observations on demand. */
export interface Demonstration {
  task: string;
  /** Unique name of the episode. */
  id: string;
  instructions: Instructions;
  /** The gripper at each frame. */
  states: readonly GripperState[];
  /** Ascending frames of the key poses. */
  keyFrames: readonly number[];
  /** What to reach at each key frame. Default: the state at that frame. */
  keyPoses?: readonly GripperState[];
  /** World-frame point cloud at a frame, uncropped. */
  observe(frame: number): PointCloud;
  /** World-frame boxes around the robot's links at a frame; undefined where the recording does not tell them. */
  linkBoxes?: (frame: number) => readonly LinkBox[];
}

/**
 * Opens an RLBench episode as a demonstration; images are read when a frame is observed.
 *
 * @param options.cameras Default: those of front, left_shoulder, right_shoulder and wrist that the
 *   episode's calibration lists. Each must have its images.
 * @param options.requireInstruction refuse episodes without a readable instruction. Default false.
 * @throws DataError or PickleError naming the file at fault
 */
export function openDemonstration(
  episode: Episode,
  options: { cameras?: readonly string[]; requireInstruction?: boolean } = {},
): Demonstration {
  const lowDim = readLowDim(episode);
  const calibrated = lowDim.frames[0].cameras;
  const cameras = options.cameras ?? RLBENCH_CAMERAS.filter((camera) => calibrated.has(camera));
  if (cameras.length === 0) throw new DataError(lowDim.file, "lists no camera to observe with");
  return {
    task: episode.task,
    id: episode.id,
    instructions: readInstructions(episode, { required: options.requireInstruction }),
    states: lowDim.frames.map(({ gripperPose, gripperOpen }) => toGripperState(gripperPose, gripperOpen)),
    keyFrames: discoverKeyPoses(lowDim.frames, lowDim.file),
    observe: (frame) => readPointCloud(episode, lowDim, frame, cameras),
    linkBoxes: linkBoxesOf(lowDim) ?? undefined,
  };
}

/**
 * An episode of any format as a demonstration; images are read when a frame is observed.
 *
 * @param options.cameras Default: those of front, left_shoulder, right_shoulder and wrist that the episode has, and all
 *   of them where it has none of these.
 */
export function demonstrationOf(
  episode: RecordedEpisode,
  options: { cameras?: readonly string[] } = {},
): Demonstration {
  const known = RLBENCH_CAMERAS.filter((camera) => episode.cameras.includes(camera));
  const cameras = options.cameras ?? (known.length > 0 ? known : episode.cameras);
  const { ref, file, instructions, states, keyFrames, keyPoses } = episode;
  return {
    task: ref.task,
    id: ref.id,
    instructions,
    states,
    keyFrames,
    keyPoses,
    observe: (frame) => observationCloud(episode.readFrame(frame, cameras), `${file} frame ${frame}`),
    linkBoxes: episode.linkBoxes ?? undefined,
  };
}

/** A gripper state from a pose of position and quaternion xyzw, [7]. */
export function toGripperState(pose: ArrayLike<number>, open: number): GripperState {
  return {
    position: [pose[0], pose[1], pose[2]],
    quaternion: [pose[3], pose[4], pose[5], pose[6]],
    open: open > 0.5 ? 1 : 0,
  };
}
