import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import type { TrainConfig } from "@md/train";
import type { CurvePoint } from "./train.js";

/** All that decides a run's curve, beside its samples M and its seed. */
export interface AblationSettings {
  steps: number;
  trainingScenes: number;
  unseenScenes: number;
  /** Actions drawn a scene, and steps of denoising each. */
  candidates: number;
  denoisingSteps: number;
  /** Kernels and threads, which decide the seconds. */
  isa: string;
  threads: number;
  /** `seed` and `policy.samples` are those of each run. */
  config: Omit<TrainConfig, "seed">;
}

/** One training. */
export interface AblationRun {
  /** M. */
  samples: number;
  seed: number;
  curve: CurvePoint[];
}

/** Content of `results.json`. */
export interface AblationResults {
  settings: AblationSettings;
  statements: string[];
  runs: AblationRun[];
}

/** Finished runs of `file` that were made with these settings; none when it is absent or of other settings. */
export function readFinishedRuns(file: string, settings: AblationSettings): AblationRun[] {
  if (!existsSync(file)) return [];
  let found: Partial<AblationResults>;
  try {
    found = JSON.parse(readFileSync(file, "utf8")) as Partial<AblationResults>;
  } catch (error) {
    throw new Error(`[${file}] is no JSON; remove it to start anew`, { cause: error });
  }
  return isDeepStrictEqual(found.settings, settings) && Array.isArray(found.runs) ? found.runs : [];
}

/** Replaces the file in one step, so that a kill leaves the old one or the new one. */
export function replaceFile(file: string, content: string): void {
  writeFileSync(`${file}.tmp`, content);
  renameSync(`${file}.tmp`, file);
}
