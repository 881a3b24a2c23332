import type { GripperState } from "../../demonstration.js";
import type {
  CloudObservation,
  DepthImage,
  Observation,
  PositionImage,
  RecordedEpisode,
} from "../../episode-source.js";
import { encodeSafetensors, type StoredArray } from "../../safetensors.js";

/** Of the metadata of every file. */
export const EPISODE_FORMAT = "minidiff-episode";
export const EPISODE_VERSION = "1";

/** Rows of position, quaternion xyzw and opening, [n, 8]. */
export const stateRows = (states: readonly GripperState[]): StoredArray =>
  f64(
    [states.length, 8],
    states.flatMap(({ position, quaternion, open }) => [...position, ...quaternion, open]),
  );

/**
 * An episode as a safetensors file: every number as it was read, none of it rounded. Metadata hold task, variation,
 * index, id, instructions, cameras and the kind of the observations; tensors are `states` and `key_poses` f64 [n, 8],
 * `key_frames` and, where known, `recorded_frames` i32 [n], `trajectoryK` f32 [n, 8], and for each frame
 * `frameF.positions` f32 [n, 3], `.colors` u8 [n, 3], `.labels` i32 [n], `.link_boxes` f32 [links, 6], `.link_poses` f32
 * [links, 7]; or by camera `frameF.CAMERA.rgb` u8 [height, width, 3], `.depth` f32 [height, width], `.intrinsics`,
 * `.extrinsics` f64, `.clip` f64 [near, far]; or `frameF.CAMERA.rgb` and `.positions` f32 [3, height, width].
 *
 * @throws whatever reading the episode's frames throws
 */
export function encodeEpisode(episode: RecordedEpisode): Buffer {
  const { ref, variation, states, keyFrames, keyPoses, recordedFrames, trajectories, instructions, cameras } = episode;
  const tensors = new Map<string, StoredArray>([
    ["states", stateRows(states)],
    ["key_frames", i32([keyFrames.length], keyFrames)],
    ["key_poses", stateRows(keyPoses)],
  ]);
  if (recordedFrames) tensors.set("recorded_frames", i32([recordedFrames.length], recordedFrames));
  trajectories?.forEach((rows, k) => tensors.set(`trajectory${k}`, f32([rows.length / 8, 8], rows)));
  const observations = states.map((_, frame) => episode.readFrame(frame));
  observations.forEach((observation, frame) => addObservation(tensors, `frame${frame}.`, observation));
  const metadata: Record<string, string> = {
    format: EPISODE_FORMAT,
    version: EPISODE_VERSION,
    task: ref.task,
    variation: JSON.stringify(variation),
    index: JSON.stringify(ref.index),
    id: ref.id,
    instructions: JSON.stringify({ texts: instructions.texts, source: instructions.source }),
    kind: observations[0].kind,
    cameras: JSON.stringify(cameras),
  };
  const [first] = observations;
  if (first.kind === "cloud" && first.links) metadata.links = JSON.stringify(first.links.map(({ name }) => name));
  return encodeSafetensors({ metadata, tensors }, ref.id);
}

function addObservation(tensors: Map<string, StoredArray>, prefix: string, observation: Observation): void {
  if (observation.kind === "cloud") return addCloud(tensors, prefix, observation);
  if (observation.kind === "depth images") {
    for (const view of observation.cameras) addDepthImage(tensors, `${prefix}${view.name}.`, view);
  } else {
    for (const view of observation.cameras) addPositionImage(tensors, `${prefix}${view.name}.`, view);
  }
}

function addCloud(
  tensors: Map<string, StoredArray>,
  prefix: string,
  { positions, colors, labels, links }: CloudObservation,
): void {
  tensors.set(`${prefix}positions`, f32([positions.length / 3, 3], positions));
  tensors.set(`${prefix}colors`, { dtype: "U8", shape: [colors.length / 3, 3], data: colors });
  if (labels) tensors.set(`${prefix}labels`, i32([labels.length], labels));
  if (!links) return;
  const flat = (rows: readonly Float32Array[]): number[] => rows.flatMap((row) => Array.from(row));
  tensors.set(`${prefix}link_boxes`, f32([links.length, 6], flat(links.map(({ box }) => box))));
  tensors.set(`${prefix}link_poses`, f32([links.length, 7], flat(links.map(({ pose }) => pose))));
}

function addDepthImage(
  tensors: Map<string, StoredArray>,
  prefix: string,
  { width, height, rgb, depth, calibration }: DepthImage,
): void {
  const { intrinsics, extrinsics, near, far } = calibration;
  tensors.set(`${prefix}rgb`, { dtype: "U8", shape: [height, width, 3], data: rgb });
  tensors.set(`${prefix}depth`, f32([height, width], depth));
  tensors.set(`${prefix}intrinsics`, f64([3, 3], intrinsics));
  tensors.set(`${prefix}extrinsics`, f64([4, 4], extrinsics));
  tensors.set(`${prefix}clip`, f64([2], [near, far]));
}

function addPositionImage(
  tensors: Map<string, StoredArray>,
  prefix: string,
  { width, height, rgb, positions }: PositionImage,
): void {
  tensors.set(`${prefix}rgb`, f32([3, height, width], rgb));
  tensors.set(`${prefix}positions`, f32([3, height, width], positions));
}

const f64 = (shape: number[], data: ArrayLike<number>): StoredArray => ({
  dtype: "F64",
  shape,
  data: Float64Array.from(data),
});
const f32 = (shape: number[], data: ArrayLike<number>): StoredArray => ({
  dtype: "F32",
  shape,
  data: data instanceof Float32Array ? data : Float32Array.from(data),
});
const i32 = (shape: number[], data: ArrayLike<number>): StoredArray => ({
  dtype: "I32",
  shape,
  data: Int32Array.from(data),
});
