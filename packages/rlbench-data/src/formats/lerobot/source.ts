import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { EpisodeSource } from "../../episode-source.js";
import { DataError, type OnBad } from "../../errors.js";
import { readJson } from "../../taskvar.js";
import { indexedSource } from "../indexed-source.js";
import { openLeRobotEpisode } from "./decode.js";
import { CODEBASE_VERSION } from "./features.js";
import { checkLeRobotEntry, readLeRobotIndex } from "./index-file.js";

/** Files of a LeRobot data set, below its folder. */
export const INFO_FILE = "meta/info.json";
export const EXTRA_FILE = "meta/minidiff.json";

/** LeRobot's limit of files in a folder `chunk-N`. */
export const CHUNK_SIZE = 1000;

/** Whether a folder has the description of a LeRobot data set. */
export const isLeRobot = (root: string): boolean => existsSync(join(root, INFO_FILE));

/** Where an episode's rows are: each has a file of its own. */
export const placeOf = (episodeIndex: number): { chunk: number; file: number } => ({
  chunk: Math.floor(episodeIndex / CHUNK_SIZE),
  file: episodeIndex % CHUNK_SIZE,
});

/** A parquet file below `data` or `meta/episodes`, as LeRobot names it. */
export const chunkFile = (folder: string, { chunk, file }: { chunk: number; file: number }): string => {
  const three = (number: number): string => String(number).padStart(3, "0");
  return `${folder}/chunk-${three(chunk)}/file-${three(file)}.parquet`;
};

/**
 * Opens a LeRobot v3 data set that `minidiff data convert --format lerobot` wrote. Of others the format does not tell
 * where cameras are, which no scene can be made without.
 *
 * @throws DataError when it is of another version or origin
 */
export function openLeRobotSource(root: string, onBad?: OnBad): EpisodeSource {
  const info = join(root, INFO_FILE);
  const { codebase_version: version } = (readJson(info) ?? {}) as Record<string, unknown>;
  if (version !== CODEBASE_VERSION)
    throw new DataError(info, `codebase_version is ${JSON.stringify(version)}, expected "${CODEBASE_VERSION}"`);
  const file = join(root, EXTRA_FILE);
  if (!existsSync(file))
    throw new DataError(
      file,
      "is missing: LeRobot's own files do not tell where cameras are, nor which poses are key poses",
    );
  const { cameras, episodes } = readLeRobotIndex(file);
  const positions = new Map<string, number>();
  return indexedSource(root, onBad, {
    format: "lerobot",
    file,
    entries: episodes,
    locate(entry, position) {
      checkLeRobotEntry(episodes[position], file, position);
      const location = join(resolve(root), chunkFile("data", placeOf(position)));
      positions.set(location, position);
      return location;
    },
    async read(ref) {
      const position = positions.get(ref.location);
      if (position === undefined) throw new DataError(ref.location, `is no episode of ${root}`);
      const entry = checkLeRobotEntry(episodes[position], file, position);
      return openLeRobotEpisode(ref, { ...entry, variation: ref.variation }, cameras, position);
    },
  });
}
