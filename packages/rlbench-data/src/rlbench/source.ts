import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { describeValue } from "@md/pickle";
import { toGripperState } from "../demonstration.js";
import type { EpisodeRef, EpisodeSource, RecordedEpisode } from "../episode-source.js";
import { DataError, type OnBad } from "../errors.js";
import { discoverKeyPoses } from "../key-poses.js";
import { readPickle } from "../read-pickle.js";
import { listCameras, RLBENCH_CAMERAS, readCameraFrame } from "./camera.js";
import { type Episode, openRLBench } from "./episodes.js";
import { readInstructions } from "./instructions.js";
import { readLowDim } from "./low-dim.js";
import { linkBoxesOf } from "./robot.js";

/** Opens raw RLBench demonstrations as a source of episodes; see `openRLBench`. */
export function openRLBenchSource(root: string, onBad?: OnBad): EpisodeSource {
  const folder = openRLBench(root, { onBad });
  const list = (task: string): EpisodeRef[] =>
    folder.episodes(task).map(({ directory, ...episode }) => ({ ...episode, root, location: resolve(directory) }));
  return {
    format: "rlbench",
    root,
    tasks: folder.tasks,
    listEpisodes: (task) => (task === undefined ? folder.tasks.flatMap(list) : list(task)),
    readEpisode: async (ref) => readRLBenchEpisode(ref),
  };
}

/** The episode that a reference names, for the functions that read raw demonstrations. */
export function toRLBenchEpisode({ task, variation, index, id, location }: EpisodeRef): Episode {
  return { task, variation, index, id, directory: location };
}

/**
 * Opens a raw RLBench episode. Its cameras are those of which it has images, and of RLBench's usual four those that it
 * has a calibration of: a frame of which images or calibration are missing is an error.
 */
function readRLBenchEpisode(ref: EpisodeRef): RecordedEpisode {
  const episode = toRLBenchEpisode(ref);
  const lowDim = readLowDim(episode);
  if (lowDim.frames.length < 2) throw new DataError(lowDim.file, "has one frame, expected at least 2");
  const calibrated = lowDim.frames[0].cameras;
  const expected = RLBENCH_CAMERAS.filter((camera) => calibrated.has(camera));
  const cameras = [...new Set([...listCameras(episode), ...expected])].sort();
  const states = lowDim.frames.map(({ gripperPose, gripperOpen }) => toGripperState(gripperPose, gripperOpen));
  const keyFrames = discoverKeyPoses(lowDim.frames, lowDim.file);
  return {
    ref,
    variation: ref.variation ?? readVariation(episode),
    file: lowDim.file,
    instructions: readInstructions(episode),
    states,
    keyFrames,
    keyPoses: keyFrames.map((frame) => states[frame]),
    recordedFrames: null,
    trajectories: null,
    linkBoxes: linkBoxesOf(lowDim),
    cameras,
    readFrame: (frame, chosen = cameras) => ({
      kind: "depth images",
      cameras: chosen.map((name) => ({ name, ...readCameraFrame(episode, lowDim, name, frame) })),
    }),
  };
}

/** Variation of an episode of the `all_variations` layout, from its `variation_number.pkl`; null where there is none. */
function readVariation({ directory }: Episode): number | null {
  const file = join(directory, "variation_number.pkl");
  if (!existsSync(file)) return null;
  const value = readPickle(file);
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    throw new DataError(file, `holds ${describeValue(value)}, expected the number of a variation`);
  return value;
}
