import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { EpisodeSource } from "../../episode-source.js";
import { DataError, type OnBad } from "../../errors.js";
import { readBoundedFile } from "../../read-file.js";
import { indexedSource } from "../indexed-source.js";
import { openCompactEpisode } from "./decode.js";

/** Lists the episodes of a compact data set; written last. */
export const INDEX_FILE = "episodes.json";
export const INDEX_FORMAT = "minidiff-episodes";
export const INDEX_VERSION = 1;

// Parsed JSON takes many times its text.
const MAX_BYTES = 32 * 2 ** 20;

/** Whether a folder has the index of a compact data set. */
export const isCompact = (root: string): boolean => existsSync(join(root, INDEX_FILE));

/** File of an episode, which its id names. */
export const episodeFile = (root: string, id: string): string => join(resolve(root), `${id}.safetensors`);

/** Opens a data set that `minidiff data convert` wrote: an index, and one safetensors file an episode. */
export function openCompactSource(root: string, onBad?: OnBad): EpisodeSource {
  const file = join(root, INDEX_FILE);
  return indexedSource(root, onBad, {
    format: "compact",
    file,
    entries: readEntries(file),
    locate: ({ id }) => episodeFile(root, id),
    read: async (ref) => openCompactEpisode(ref),
  });
}

function readEntries(file: string): unknown[] {
  let content: Record<string, unknown>;
  try {
    content = (JSON.parse(readBoundedFile(file, MAX_BYTES).toString("utf8")) ?? {}) as Record<string, unknown>;
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(file, `is no JSON: ${(error as Error).message}`, { cause: error });
  }
  const { format, version, episodes } = content;
  if (format !== INDEX_FORMAT || version !== INDEX_VERSION)
    throw new DataError(file, `is ${brief(format)} ${brief(version)}, expected ${INDEX_FORMAT} ${INDEX_VERSION}`);
  if (!Array.isArray(episodes)) throw new DataError(file, "episodes is no list");
  return episodes;
}

const brief = (value: unknown): string =>
  typeof value === "string" || typeof value === "number" ? String(value).slice(0, 100) : typeof value;
