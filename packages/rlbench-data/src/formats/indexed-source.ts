import type { EpisodeFormat, EpisodeRef, EpisodeSource, RecordedEpisode } from "../episode-source.js";
import { DataError, type OnBad, orSkip } from "../errors.js";
import { listedSource } from "./listed-source.js";

const MAX_NAME = 1024;

/** An episode in an index. */
export type IndexEntry = Pick<EpisodeRef, "task" | "variation" | "index" | "id">;

/** How a format whose index is a list of episodes reads them. */
export interface IndexedFormat {
  format: EpisodeFormat;
  /** The index. */
  file: string;
  /** Its list, not checked. */
  entries: readonly unknown[];
  /** File of an episode. */
  locate(entry: IndexEntry, position: number): string;
  read(ref: EpisodeRef): Promise<RecordedEpisode>;
}

/**
 * A source of the episodes that an index lists.
 *
 * @throws DataError when an entry is malformed or an episode there twice, unless there is `onBad` to call
 */
export function indexedSource(
  root: string,
  onBad: OnBad | undefined,
  { format, file, entries, locate, read }: IndexedFormat,
): EpisodeSource {
  const byTask = new Map<string, EpisodeRef[]>();
  const seen = new Set<string>();
  for (const [position, value] of entries.entries()) {
    orSkip(onBad, () => {
      const entry = checkEntry(value, file, position);
      const ref = { root, ...entry, location: locate(entry, position) };
      const names = [ref.id, `${ref.task} episode ${ref.index}`];
      const twin = names.find((name) => seen.has(name));
      if (twin !== undefined) throw new DataError(file, `episodes[${position}]: ${twin} is there twice`);
      for (const name of names) seen.add(name);
      const ofTask = byTask.get(ref.task) ?? [];
      byTask.set(ref.task, ofTask);
      ofTask.push(ref);
    });
  }
  for (const episodes of byTask.values()) episodes.sort((a, b) => a.index - b.index);
  const sorted = [...byTask.keys()].sort().map((task) => [task, byTask.get(task)!] as const);
  return listedSource(format, root, new Map(sorted), read);
}

function checkEntry(entry: unknown, file: string, position: number): IndexEntry {
  const { task, variation, index, id } = (entry ?? {}) as Record<string, unknown>;
  const isNumber = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  const isName = (value: unknown): value is string =>
    typeof value === "string" && value !== "" && value.length < MAX_NAME;
  if (!isName(task) || !(variation === null || isNumber(variation)) || !isNumber(index) || !isName(id))
    throw new DataError(file, `episodes[${position}] has no valid task, variation, index and id`);
  // The id may become a path, which must not leave the folder.
  if (
    id.includes("\\") ||
    id.includes("\0") ||
    id.split("/").some((part) => part === "" || part === "." || part === "..")
  )
    throw new DataError(file, `episodes[${position}].id is "${id}", expected a path below the folder`);
  return { task, variation, index, id };
}
