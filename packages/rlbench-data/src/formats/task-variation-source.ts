import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import type { EpisodeFormat, EpisodeRef, EpisodeSource, RecordedEpisode } from "../episode-source.js";
import { DataError, type OnBad, orSkip } from "../errors.js";
import { parseTaskVariation, type TaskVariation } from "../taskvar.js";
import { listedSource } from "./listed-source.js";

/** A folder `TASK+VARIATION` of episodes. */
export interface TaskVariationFolder extends TaskVariation {
  folder: string;
  /** The file in it that gives the format away. */
  file: string;
}

const MAX_DEPTH = 4;

/**
 * Folders `TASK+VARIATION` that have a file which `isData` accepts, the opened folder itself included, sorted by path.
 * Looks four levels down, as the formats' own tools nest them (`seed0/voxel1cm/TASK+VARIATION`).
 */
export function findTaskVariationFolders(root: string, isData: (name: string) => boolean): TaskVariationFolder[] {
  const found: TaskVariationFolder[] = [];
  const look = (folder: string, depth: number): void => {
    const entries = readdirSync(folder, { withFileTypes: true });
    const name = parseTaskVariation(basename(folder));
    const file = name && entries.find((entry) => !entry.isDirectory() && isData(entry.name));
    if (name && file) found.push({ ...name, folder, file: join(folder, file.name) });
    else if (depth < MAX_DEPTH)
      for (const entry of entries.filter((entry) => entry.isDirectory()).sort(byName))
        look(join(folder, entry.name), depth + 1);
  };
  look(root, 0);
  return found;
}

/** How one format lists a folder and reads an episode. */
export interface TaskVariationFormat {
  /**
   * Episodes with their own numbers. What is no episode goes to `onBad`.
   *
   * @throws DataError when the folder cannot be listed, or for what is no episode where there is no `onBad`
   */
  list(folder: TaskVariationFolder, onBad: OnBad | undefined): (EpisodeRef & { number: number })[];
  read(ref: EpisodeRef): Promise<RecordedEpisode>;
}

/**
 * A source of the episodes of such folders; they are numbered in order of variation, then of their own numbers.
 *
 * @throws DataError when a folder cannot be listed, unless there is `onBad` to call, or when an episode is there twice
 */
export function sourceOf(
  format: EpisodeFormat,
  root: string,
  folders: readonly TaskVariationFolder[],
  onBad: OnBad | undefined,
  { list, read }: TaskVariationFormat,
): EpisodeSource {
  const byTask = new Map<string, EpisodeRef[]>();
  const seen = new Map<string, string>();
  const order = (a: TaskVariation, b: TaskVariation): number =>
    a.task < b.task ? -1 : a.task > b.task ? 1 : a.variation - b.variation;
  for (const folder of [...folders].sort(order)) {
    orSkip(onBad, () => {
      const episodes = list(folder, onBad).sort((a, b) => a.number - b.number);
      for (const { number, ...ref } of episodes) {
        const name = `${ref.task}+${ref.variation} episode ${number}`;
        const twin = seen.get(name);
        if (twin !== undefined) {
          orSkip(onBad, () => {
            throw new DataError(ref.location, `is ${name}, which ${twin} is already`);
          });
          continue;
        }
        seen.set(name, ref.location);
        const ofTask = byTask.get(ref.task) ?? [];
        byTask.set(ref.task, ofTask);
        ofTask.push({ ...ref, index: ofTask.length });
      }
    });
  }
  return listedSource(format, root, byTask, read);
}

const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
