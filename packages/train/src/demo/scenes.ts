import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  type KeyPoseDataset,
  readReachScene,
  type ReachScene,
  toRLBenchEpisode,
  writeSyntheticReach,
} from "@md/rlbench-data";
import type { DataConfig } from "../config/schema.js";
import { listEpisodes, loadDataset } from "../data.js";

/** Synthetic demonstrations on disk. */
export interface SceneFolder {
  root: string;
  /** Whether an earlier demo had written them. */
  reused: boolean;
}

/**
 * The folder of `count` synthetic demonstrations of a seed below `parent`; written if it is not there. A folder that an
 * interrupted demo left unfinished is written anew.
 */
export function provideScenes(parent: string, name: string, count: number, seed: number): SceneFolder {
  const root = join(parent, `${name}-${count}-seed${seed}`);
  if (existsSync(root)) return { root, reused: true };
  const unfinished = `${root}.partial`;
  rmSync(unfinished, { recursive: true, force: true });
  writeSyntheticReach({ root: unfinished, episodes: count, seed });
  renameSync(unfinished, root);
  return { root, reused: false };
}

/** Key poses with the true scene of each. */
export interface ScenesToJudge {
  dataset: KeyPoseDataset;
  scenes: readonly ReachScene[];
}

/** Reads demonstrations of {@link provideScenes}: one key pose a scene. */
export async function loadScenes(root: string, config: DataConfig): Promise<ScenesToJudge> {
  const episodes = listEpisodes({ root });
  return {
    dataset: await loadDataset(episodes, config, { keyPosesOnly: true }),
    scenes: episodes.map((episode) => readReachScene(toRLBenchEpisode(episode))),
  };
}
