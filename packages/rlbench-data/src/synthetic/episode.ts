import { DataError } from "../errors.js";
import type { Demonstration } from "../demonstration.js";
import { toGripperState } from "../demonstration.js";
import { discoverKeyPoses } from "../key-poses.js";
import { concatPointClouds } from "../point-cloud.js";
import { CounterRandom } from "../random.js";
import { cameraPointCloud, type CameraFrame } from "../rlbench/camera.js";
import type { LowDimFrame } from "../rlbench/low-dim.js";
import { makeReachScene, type ReachScene } from "./scene.js";
import { renderScene, SYNTHETIC_CAMERAS } from "./ray-cast.js";

/** Name of the synthetic task. */
export const SYNTHETIC_TASK = "reach_sphere";

/** Straight down. */
const GRIPPER_QUATERNION = [0, 1, 0, 0] as const;
const START = [0.2785, -0.0082, 1.2] as const;
const START_SPREAD = 0.05;
const JOINTS = 7;
const MOVING_VELOCITY = 0.5;
const PURPOSE_START = 13;

/** A synthetic demonstration in memory. */
export interface ReachEpisode {
  index: number;
  scene: ReachScene;
  /** Gripper at the start, half way, and with its tip in the centre of the sphere. */
  frames: LowDimFrame[];
  /** Each camera's view; the arm is not rendered, so it is the same at every frame. */
  views: ReadonlyMap<string, CameraFrame>;
}

/**
 * Episode `index` of a seed: the gripper, pointing straight down and open, goes from near RLBench's home
 * position to the centre of the sphere that the instruction names. Its one key pose is the last frame.
 *
 * @param seed non-negative integer below 2^53
 * @param index non-negative integer
 */
export function makeReachEpisode(seed: number, index: number): ReachEpisode {
  const scene = makeReachScene(seed, index);
  const random = new CounterRandom(seed, [PURPOSE_START, index, 0]);
  const start = START.map((value) => value + random.between(-START_SPREAD, START_SPREAD));
  const end = scene.spheres[scene.target].position;
  const frames = [0, 0.5, 1].map((progress): LowDimFrame => {
    const position = start.map((value, axis) => value + progress * (end[axis] - value));
    return {
      gripperPose: Float64Array.of(...position, ...GRIPPER_QUATERNION),
      gripperOpen: 1,
      jointPositions: null,
      gripperJointPositions: null,
      jointVelocities: new Float64Array(JOINTS).fill(progress === 0.5 ? MOVING_VELOCITY : 0),
      cameras: SYNTHETIC_CAMERAS,
    };
  });
  const views = new Map([...SYNTHETIC_CAMERAS].map(([name, calibration]) => [name, renderScene(scene, calibration)]));
  return { index, scene, frames, views };
}

/** A synthetic episode as a demonstration, without a detour over the disk. */
export function toDemonstration(episode: ReachEpisode): Demonstration {
  const id = `${SYNTHETIC_TASK}/all_variations/episode${episode.index}`;
  return {
    task: SYNTHETIC_TASK,
    id,
    instructions: { texts: [episode.scene.instruction], source: "variation_descriptions" },
    states: episode.frames.map(({ gripperPose, gripperOpen }) => toGripperState(gripperPose, gripperOpen)),
    keyFrames: discoverKeyPoses(episode.frames, id),
    observe(frame) {
      if (!episode.frames[frame]) throw new DataError(id, `has no frame ${frame}`);
      return concatPointClouds([...episode.views].map(([camera, view]) => cameraPointCloud(view, `${id} ${camera}`)));
    },
  };
}
