import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { EpisodeFormat, EpisodeSource, RecordedEpisode } from "./episode-source.js";
import { demonstrationOf } from "./demonstration.js";
import { DataError, type OnBad, orSkipAsync } from "./errors.js";
import { prepareCloud } from "./pipeline/prepare.js";
import { type Bounds, pointCount } from "./point-cloud.js";
import type { Instructions } from "./rlbench/instructions.js";

/** Least, mean and greatest of a count. */
export interface Spread {
  min: number;
  mean: number;
  max: number;
}

/** What a data set holds; see {@link describeDataset}. */
export interface DatasetInfo {
  root: string;
  format: EpisodeFormat;
  tasks: TaskInfo[];
  episodes: number;
  keyPoses: number;
  /** Distinct instructions. */
  instructions: number;
  cameras: string[];
  /** Box around all key poses, metres. */
  workspace: Bounds;
  /** Of each episode's first frame. */
  points: {
    /** As stored. */
    stored: Spread;
    /** After workspace crop, table removal and down-sampling to 1 cm. */
    prepared: Spread;
  };
  /** Of the episodes' files. */
  bytes: number;
}

/** What a data set holds of one task. */
export interface TaskInfo {
  task: string;
  /** Sorted; empty where the format does not tell them apart. */
  variations: number[];
  episodes: number;
  keyPoses: Spread;
  /** Frames that can be observed. */
  frames: Spread;
  /** Distinct instructions. */
  instructions: number;
  /** Where they come from. */
  instructionSources: Instructions["source"][];
}

/**
 * Reads every episode of a data set, and the first frame of each.
 *
 * @param onBad called with each episode that cannot be read, which is then left out. Default: the error is thrown.
 * @throws DataError when no episode can be read
 */
export async function describeDataset(source: EpisodeSource, onBad?: OnBad): Promise<DatasetInfo> {
  const texts = new Set<string>();
  const cameras = new Set<string>();
  const files = new Set<string>();
  const stored: number[] = [];
  const prepared: number[] = [];
  const poses: (readonly number[])[] = [];
  const tasks: TaskInfo[] = [];
  for (const task of source.tasks) {
    const read: RecordedEpisode[] = [];
    for (const ref of source.listEpisodes(task)) {
      await orSkipAsync(onBad, async () => {
        const episode = await source.readEpisode(ref);
        const cloud = demonstrationOf(episode).observe(0);
        const kept = pointCount(prepareCloud(cloud, {}, `${ref.id} frame 0`));
        stored.push(pointCount(cloud));
        prepared.push(kept);
        files.add(ref.location.replace(/#[^#/]*$/, ""));
        read.push(episode);
      });
    }
    if (read.length === 0) continue;
    const ofTask = new Set(read.flatMap(({ instructions }) => instructions.texts));
    for (const text of ofTask) texts.add(text);
    for (const episode of read) {
      for (const name of episode.cameras) cameras.add(name);
      poses.push(...episode.keyPoses.map(({ position }) => position));
    }
    const variations = new Set(read.flatMap(({ variation }) => variation ?? []));
    tasks.push({
      task,
      variations: [...variations].sort((a, b) => a - b),
      episodes: read.length,
      keyPoses: spread(read.map(({ keyFrames }) => keyFrames.length)),
      frames: spread(read.map(({ states }) => states.length)),
      instructions: ofTask.size,
      instructionSources: [...new Set(read.map(({ instructions }) => instructions.source))].sort(),
    });
  }
  if (tasks.length === 0) throw new DataError(source.root, "has no episode that can be read");
  return {
    root: source.root,
    format: source.format,
    tasks,
    episodes: stored.length,
    keyPoses: poses.length,
    instructions: texts.size,
    cameras: [...cameras].sort(),
    workspace: boxAround(poses),
    points: { stored: spread(stored), prepared: spread(prepared) },
    bytes: [...files].reduce((sum, file) => sum + sizeOf(file), 0),
  };
}

function spread(counts: readonly number[]): Spread {
  const sum = counts.reduce((total, count) => total + count, 0);
  const extreme = (pick: (a: number, b: number) => number): number => counts.reduce((a, b) => pick(a, b));
  return { min: extreme(Math.min), mean: sum / counts.length, max: extreme(Math.max) };
}

function boxAround(points: readonly (readonly number[])[]): Bounds {
  const extreme = (pick: (a: number, b: number) => number): [number, number, number] => {
    const [x, y, z] = [0, 1, 2].map((axis) => points.map((point) => point[axis]).reduce((a, b) => pick(a, b)));
    return [x, y, z];
  };
  return { min: extreme(Math.min), max: extreme(Math.max) };
}

function sizeOf(path: string): number {
  // Links are not followed: they may lead round in circles.
  const stat = lstatSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}
