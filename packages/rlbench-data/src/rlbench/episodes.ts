import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { DataError, type OnBad, orSkip } from "../errors.js";

/** One recorded episode on disk; plain data, so it can be sent to a worker thread. */
export interface Episode {
  task: string;
  /** Variation of the folder; null in the `all_variations` layout, where each episode names its own. */
  variation: number | null;
  /**
   * Number by which episodes are selected: K of `episodeK` in the `all_variations` layout; in the
   * `variationN` layout the position in the order of variation, then K.
   */
  index: number;
  /** Path below the root, e.g. `open_drawer/all_variations/episode3`. */
  id: string;
  directory: string;
}

/** A folder of RLBench demonstrations. */
export interface RLBenchRoot {
  root: string;
  /** Names of the tasks found, sorted. */
  tasks: readonly string[];
  /**
   * Episodes of a task, sorted by index. Where `all_variations` exists it holds every episode and
   * the `variationN` folders beside it are not read.
   *
   * @throws DataError when the task does not exist
   */
  episodes(task: string): Episode[];
}

const ALL_VARIATIONS = "all_variations";

/**
 * Opens a folder of raw RLBench demonstrations in either layout,
 * `TASK/variationN/episodes/episodeK` or `TASK/all_variations/episodes/episodeK`.
 *
 * @param options.onBad called with what is wrong with an episode or task, which is then left out. Default: it is thrown.
 * @throws DataError when the folder is missing or holds no demonstrations, or an episode's number is there twice
 */
export function openRLBench(root: string, options: { onBad?: OnBad } = {}): RLBenchRoot {
  const byTask = new Map<string, Episode[]>();
  for (const task of listFolders(root)) {
    const episodes = orSkip(options.onBad, () => findEpisodes(root, task, options.onBad)) ?? [];
    if (episodes.length > 0) byTask.set(task, episodes);
  }
  if (byTask.size === 0)
    throw new DataError(root, "holds no RLBench demonstrations (TASK/variationN/episodes/episodeK)");
  return {
    root,
    tasks: [...byTask.keys()],
    episodes(task) {
      const episodes = byTask.get(task);
      if (!episodes) throw new DataError(root, `has no task "${task}"; it has ${[...byTask.keys()].join(", ")}`);
      return episodes.map((episode) => ({ ...episode }));
    },
  };
}

/**
 * Parses an episode selection such as `"0-3,7"` into sorted, distinct indices.
 *
 * @throws DataError on anything else
 */
export function parseEpisodes(selection: string): number[] {
  const chosen = new Set<number>();
  for (const part of selection.split(",")) {
    const match = /^\s*(\d{1,6})(?:\s*-\s*(\d{1,6}))?\s*$/.exec(part);
    if (!match) throw new DataError("episodes", `"${selection}" is no selection such as "0-3,7"`);
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    if (last < first) throw new DataError("episodes", `"${part.trim()}" ends before it begins`);
    for (let index = first; index <= last; index++) chosen.add(index);
  }
  return [...chosen].sort((a, b) => a - b);
}

/**
 * The episodes that a selection names; see {@link parseEpisodes}.
 *
 * @throws DataError when an index has no episode
 */
export function selectEpisodes<E extends { index: number }>(episodes: readonly E[], selection: string): E[] {
  return parseEpisodes(selection).map((index) => {
    const episode = episodes.find((candidate) => candidate.index === index);
    if (!episode)
      throw new DataError("episodes", `there is no episode ${index} among ${episodes.map((e) => e.index).join(", ")}`);
    return episode;
  });
}

/** Whether a folder has tasks in a layout that {@link openRLBench} reads. */
export function isRLBench(root: string): boolean {
  const isLayout = (name: string): boolean => name === ALL_VARIATIONS || /^variation\d{1,6}$/.test(name);
  return listFolders(root).some((task) => listFolders(join(root, task)).some(isLayout));
}

function findEpisodes(root: string, task: string, onBad: OnBad | undefined): Episode[] {
  const taskFolder = join(root, task);
  const folders = listFolders(taskFolder);
  if (folders.includes(ALL_VARIATIONS))
    return numbered(join(taskFolder, ALL_VARIATIONS, "episodes"), "episode", onBad).map(({ number, name, path }) => ({
      task,
      variation: null,
      index: number,
      id: `${task}/${ALL_VARIATIONS}/${name}`,
      directory: path,
    }));
  return numbered(taskFolder, "variation", onBad)
    .flatMap((variation) =>
      numbered(join(variation.path, "episodes"), "episode", onBad).map(({ name, path }) => ({
        task,
        variation: variation.number,
        id: `${task}/${variation.name}/${name}`,
        directory: path,
      })),
    )
    .map((episode, index) => ({ ...episode, index }));
}

function numbered(
  folder: string,
  prefix: string,
  onBad: OnBad | undefined,
): { number: number; name: string; path: string }[] {
  const seen = new Map<number, string>();
  return listFolders(folder)
    .filter((name) => name.startsWith(prefix) && /^\d{1,6}$/.test(name.slice(prefix.length)))
    .flatMap((name) => {
      const entry = { number: Number(name.slice(prefix.length)), name, path: join(folder, name) };
      const twin = seen.get(entry.number);
      seen.set(entry.number, twin ?? name);
      if (twin === undefined) return [entry];
      orSkip(onBad, () => {
        throw new DataError(entry.path, `is ${prefix} ${entry.number}, which ${twin} is already`);
      });
      return [];
    })
    .sort((a, b) => a.number - b.number);
}

function listFolders(folder: string): string[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    throw new DataError(folder, `cannot be listed: ${(error as Error).message}`, { cause: error });
  }
  return names.filter((name) => isFolder(join(folder, name))).sort();
}

// A link that leads to itself is no folder.
function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ELOOP") return false;
    throw new DataError(path, `cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
