import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { RecordedEpisode } from "../../episode-source.js";
import { DataError } from "../../errors.js";
import type { IndexEntry } from "../indexed-source.js";
import { openCompactEpisode } from "./decode.js";
import { encodeEpisode } from "./encode.js";
import { episodeFile, INDEX_FILE, INDEX_FORMAT, INDEX_VERSION } from "./source.js";

/**
 * Writes an episode into a compact data set, and reads it back: what is read encodes to the same bytes, or nothing is
 * left behind.
 *
 * @returns its size in bytes
 * @throws DataError when it does not read back, or whatever reading the episode throws
 */
export function writeCompactEpisode(root: string, episode: RecordedEpisode): number {
  const bytes = encodeEpisode(episode);
  const file = episodeFile(root, episode.ref.id);
  mkdirSync(dirname(file), { recursive: true });
  const unfinished = `${file}.partial`;
  try {
    writeFileSync(unfinished, bytes);
    const back = encodeEpisode(openCompactEpisode({ ...episode.ref, location: unfinished }));
    if (!back.equals(bytes)) throw new DataError(unfinished, "does not read back as it was written");
    renameSync(unfinished, file);
  } finally {
    rmSync(unfinished, { force: true });
  }
  return bytes.length;
}

/** Writes the index, which makes a folder of episodes a data set. */
export function writeCompactIndex(root: string, entries: readonly IndexEntry[]): void {
  const file = join(root, INDEX_FILE);
  const lines = entries.map(({ task, variation, index, id }) => JSON.stringify({ task, variation, index, id }));
  const head = JSON.stringify({ format: INDEX_FORMAT, version: INDEX_VERSION }).slice(0, -1);
  writeFileSync(`${file}.partial`, `${head},"episodes":[\n${lines.join(",\n")}\n]}\n`);
  renameSync(`${file}.partial`, file);
}
