import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pickle, type Picklable, pyArray, pyFloat, pyInstance } from "@md/pickle";
import { DataError } from "../errors.js";
import { encodePng } from "../png.js";
import { readBoundedFile } from "../read-file.js";
import { encodeDepth } from "../rlbench/camera.js";
import type { Episode } from "../rlbench/episodes.js";
import type { LowDimFrame } from "../rlbench/low-dim.js";
import { makeReachEpisode, type ReachEpisode, SYNTHETIC_TASK } from "./episode.js";
import { type ReachScene, type Sphere, SPHERE_COLORS, type SphereColor } from "./scene.js";

const SCENE_FILE = "scene.json";
const MAX_SCENE_BYTES = 65536;

/** What {@link writeSyntheticReach} writes. */
export interface SyntheticReachOptions {
  /** Folder of demonstrations; the task's folder in it must not exist yet. */
  root: string;
  /** Number of episodes. */
  episodes: number;
  /** Non-negative integer below 2^53. */
  seed: number;
}

/**
 * Writes synthetic "reach the coloured sphere" demonstrations in RLBench's own layout
 * (`reach_sphere/all_variations/episodes/episodeK`): PNG colours, 24-bit depth, `low_dim_obs.pkl`,
 * `variation_descriptions.pkl`, `variation_number.pkl`, and the true scene as `scene.json`.
 *
 * @throws DataError when the task's folder exists
 */
export function writeSyntheticReach({ root, episodes, seed }: SyntheticReachOptions): void {
  const task = join(root, SYNTHETIC_TASK);
  if (existsSync(task)) throw new DataError(task, "exists already; synthetic demonstrations are not mixed with others");
  for (let index = 0; index < episodes; index++)
    writeEpisode(join(task, "all_variations", "episodes", `episode${index}`), makeReachEpisode(seed, index));
}

/**
 * The true scene of a synthetic episode.
 *
 * @throws DataError when the episode has no readable `scene.json`
 */
export function readReachScene(episode: Pick<Episode, "directory">): ReachScene {
  const file = join(episode.directory, SCENE_FILE);
  let scene: unknown;
  try {
    scene = JSON.parse(readBoundedFile(file, MAX_SCENE_BYTES).toString());
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(file, `is no JSON: ${(error as Error).message}`, { cause: error });
  }
  if (!isReachScene(scene)) throw new DataError(file, "is no synthetic scene");
  return scene;
}

function writeEpisode(folder: string, episode: ReachEpisode): void {
  mkdirSync(folder, { recursive: true });
  for (const [camera, view] of episode.views) {
    const images = { rgb: view.rgb, depth: encodeDepth(view.depth, view.calibration) };
    for (const [kind, data] of Object.entries(images)) {
      const imageFolder = join(folder, `${camera}_${kind}`);
      mkdirSync(imageFolder);
      const png = encodePng({ width: view.width, height: view.height, data });
      episode.frames.forEach((_, frame) => writeFileSync(join(imageFolder, `${frame}.png`), png));
    }
  }
  const { scene } = episode;
  const variation = Object.keys(SPHERE_COLORS).indexOf(scene.color);
  const demo = pyInstance("rlbench.demo", "Demo", {
    _observations: episode.frames.map(toObservation),
    random_seed: null,
    variation_number: variation,
  });
  writeFileSync(join(folder, "low_dim_obs.pkl"), pickle(demo));
  writeFileSync(join(folder, "variation_number.pkl"), pickle(variation));
  writeFileSync(join(folder, "variation_descriptions.pkl"), pickle([scene.instruction]));
  writeFileSync(join(folder, SCENE_FILE), `${JSON.stringify(scene, null, 2)}\n`);
}

function toObservation(frame: LowDimFrame): Picklable {
  const misc = new Map<string, Picklable>();
  for (const [camera, { intrinsics, extrinsics, near, far }] of frame.cameras) {
    misc.set(`${camera}_camera_extrinsics`, pyArray(extrinsics, [4, 4]));
    misc.set(`${camera}_camera_intrinsics`, pyArray(intrinsics, [3, 3]));
    misc.set(`${camera}_camera_near`, pyFloat(near));
    misc.set(`${camera}_camera_far`, pyFloat(far));
  }
  const { gripperPose, gripperOpen, jointVelocities } = frame;
  return pyInstance("rlbench.backend.observation", "Observation", {
    joint_velocities: jointVelocities && pyArray(jointVelocities, [jointVelocities.length]),
    gripper_open: pyFloat(gripperOpen),
    gripper_pose: pyArray(gripperPose, [gripperPose.length]),
    misc,
  });
}

function isReachScene(value: unknown): value is ReachScene {
  if (typeof value !== "object" || value === null) return false;
  const { spheres, target, color, instruction, ambiguous } = value as Partial<Record<keyof ReachScene, unknown>>;
  return (
    Array.isArray(spheres) &&
    spheres.every(isSphere) &&
    Number.isInteger(target) &&
    spheres[target as number] !== undefined &&
    isColor(color) &&
    typeof instruction === "string" &&
    typeof ambiguous === "boolean"
  );
}

function isSphere(value: unknown): value is Sphere {
  if (typeof value !== "object" || value === null) return false;
  const { position, radius, color } = value as Partial<Record<keyof Sphere, unknown>>;
  return (
    Array.isArray(position) &&
    position.length === 3 &&
    position.every(Number.isFinite) &&
    Number.isFinite(radius) &&
    isColor(color)
  );
}

function isColor(value: unknown): value is SphereColor {
  return typeof value === "string" && Object.hasOwn(SPHERE_COLORS, value);
}
