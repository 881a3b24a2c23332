import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { EpisodeRef, EpisodeSource } from "../../episode-source.js";
import { DataError, type OnBad, orSkip } from "../../errors.js";
import { readBoundedFile } from "../../read-file.js";
import { openCompactEpisode } from "./decode.js";

/** Lists the episodes of a compact data set; written last. */
export const INDEX_FILE = "episodes.json";
export const INDEX_FORMAT = "minidiff-episodes";
export const INDEX_VERSION = 1;

// Parsed JSON takes many times its text.
const MAX_BYTES = 32 * 2 ** 20;
const MAX_NAME = 1024;

/** An episode in the index. */
export type IndexEntry = Pick<EpisodeRef, "task" | "variation" | "index" | "id">;

/** Whether a folder has the index of a compact data set. */
export const isCompact = (root: string): boolean => existsSync(join(root, INDEX_FILE));

/** File of an episode, which its id names. */
export const episodeFile = (root: string, id: string): string => join(resolve(root), `${id}.safetensors`);

/** Opens a data set that `minidiff data convert` wrote: an index, and one safetensors file an episode. */
export function openCompactSource(root: string, onBad?: OnBad): EpisodeSource {
  const file = join(root, INDEX_FILE);
  const byTask = new Map<string, EpisodeRef[]>();
  const seen = new Set<string>();
  for (const [position, entry] of readEntries(file).entries()) {
    orSkip(onBad, () => {
      const ref = checkEntry(entry, root, file, position);
      const names = [ref.id, `${ref.task} episode ${ref.index}`];
      const twin = names.find((name) => seen.has(name));
      if (twin !== undefined) throw new DataError(file, `episodes[${position}]: ${twin} is there twice`);
      for (const name of names) seen.add(name);
      const ofTask = byTask.get(ref.task) ?? [];
      byTask.set(ref.task, ofTask);
      ofTask.push(ref);
    });
  }
  const tasks = [...byTask.keys()].sort();
  for (const episodes of byTask.values()) episodes.sort((a, b) => a.index - b.index);
  return {
    format: "compact",
    root,
    tasks,
    listEpisodes(task) {
      if (task === undefined) return tasks.flatMap((name) => byTask.get(name)!.map((ref) => ({ ...ref })));
      const episodes = byTask.get(task);
      if (!episodes) throw new DataError(root, `has no task "${task}"; it has ${tasks.join(", ")}`);
      return episodes.map((ref) => ({ ...ref }));
    },
    readEpisode: async (ref) => openCompactEpisode(ref),
  };
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

function checkEntry(entry: unknown, root: string, file: string, position: number): EpisodeRef {
  const { task, variation, index, id } = (entry ?? {}) as Record<string, unknown>;
  const isNumber = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  const isName = (value: unknown): value is string =>
    typeof value === "string" && value !== "" && value.length < MAX_NAME;
  if (!isName(task) || !(variation === null || isNumber(variation)) || !isNumber(index) || !isName(id))
    throw new DataError(file, `episodes[${position}] has no valid task, variation, index and id`);
  // The id becomes a path, which must not leave the folder.
  if (
    id.includes("\\") ||
    id.includes("\0") ||
    id.split("/").some((part) => part === "" || part === "." || part === "..")
  )
    throw new DataError(file, `episodes[${position}].id is "${id}", expected a path below the folder`);
  return { root, task, variation, index, id, location: episodeFile(root, id) };
}

const brief = (value: unknown): string =>
  typeof value === "string" || typeof value === "number" ? String(value).slice(0, 100) : typeof value;
