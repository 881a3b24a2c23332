import { readJson } from "../../taskvar.js";
import { DataError } from "../../errors.js";
import type { Instructions } from "../../rlbench/instructions.js";
import type { IndexEntry } from "../indexed-source.js";
import { checkCameras, type LeRobotCamera } from "./features.js";

/** Of `meta/minidiff.json`. */
export const LEROBOT_INDEX_FORMAT = "minidiff-lerobot";
export const LEROBOT_INDEX_VERSION = 1;

const SOURCES = ["variation_descriptions", "taskvars_instructions", "task name"] as const;
const MAX_STEPS = 4096;

/** What `meta/minidiff.json` tells of an episode, which LeRobot's own files have no place for. */
export interface LeRobotEntry extends IndexEntry {
  instructions: Pick<Instructions, "texts" | "source">;
  /** Rows of the episode, which are its observed key steps. */
  frames: number;
  /** As many as there are rows, or one fewer where the final pose was observed. */
  keyPoses: number;
  recordedFrames: readonly number[] | null;
}

/** Content of `meta/minidiff.json`: the cameras, and the episodes in their order. */
export interface LeRobotIndex {
  cameras: LeRobotCamera[];
  episodes: unknown[];
}

/** Reads `meta/minidiff.json`; its episodes are checked when they are read. @throws DataError naming file and field */
export function readLeRobotIndex(file: string): LeRobotIndex {
  const { format, version, cameras, episodes } = (readJson(file) ?? {}) as Record<string, unknown>;
  if (format !== LEROBOT_INDEX_FORMAT || version !== LEROBOT_INDEX_VERSION)
    throw new DataError(
      file,
      `is ${JSON.stringify(format)} ${JSON.stringify(version)}, expected "${LEROBOT_INDEX_FORMAT}" ${LEROBOT_INDEX_VERSION}`,
    );
  if (!Array.isArray(episodes)) throw new DataError(file, "episodes is no list");
  return { cameras: checkCameras(cameras, file), episodes };
}

/** The parts of an entry that {@link IndexEntry} has not. @throws DataError naming file and field */
export function checkLeRobotEntry(
  value: unknown,
  file: string,
  position: number,
): Omit<LeRobotEntry, keyof IndexEntry> {
  const { instructions, frames, keyPoses, recordedFrames } = value as Record<string, unknown>;
  const field = `episodes[${position}]`;
  const { texts, source } = (instructions ?? {}) as Record<string, unknown>;
  const known = SOURCES.find((name) => name === source);
  const isText = (text: unknown): text is string => typeof text === "string" && text.trim() !== "";
  if (!Array.isArray(texts) || texts.length === 0 || !texts.every(isText) || !known)
    throw new DataError(file, `${field}.instructions has no texts and source`);
  const isCount = (count: unknown, most: number): count is number =>
    Number.isSafeInteger(count) && (count as number) >= 1 && (count as number) <= most;
  if (!isCount(frames, MAX_STEPS)) throw new DataError(file, `${field}.frames is ${JSON.stringify(frames)}`);
  if (!isCount(keyPoses, frames) || keyPoses < frames - 1)
    throw new DataError(file, `${field}.keyPoses is ${JSON.stringify(keyPoses)} of ${frames} frames`);
  if (recordedFrames !== null && !isFrames(recordedFrames, frames))
    throw new DataError(file, `${field}.recordedFrames is no list of ${frames} ascending frames`);
  return { instructions: { texts, source: known }, frames, keyPoses, recordedFrames };
}

function isFrames(value: unknown, count: number): value is number[] {
  if (!Array.isArray(value) || value.length !== count) return false;
  return value.every((frame, i) => Number.isSafeInteger(frame) && frame >= 0 && (i === 0 || frame > value[i - 1]));
}
