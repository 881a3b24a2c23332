import type { EpisodeFormat, EpisodeRef, EpisodeSource, RecordedEpisode } from "../episode-source.js";
import { DataError } from "../errors.js";

/** A source of episodes that are listed already: tasks and the episodes of each come in the order of `byTask`. */
export function listedSource(
  format: EpisodeFormat,
  root: string,
  byTask: ReadonlyMap<string, readonly EpisodeRef[]>,
  read: (ref: EpisodeRef) => RecordedEpisode | Promise<RecordedEpisode>,
): EpisodeSource {
  const tasks = [...byTask.keys()];
  return {
    format,
    root,
    tasks,
    listEpisodes(task) {
      if (task === undefined) return tasks.flatMap((name) => byTask.get(name)!.map((ref) => ({ ...ref })));
      const episodes = byTask.get(task);
      if (!episodes) throw new DataError(root, `has no task "${task}"; it has ${tasks.join(", ")}`);
      return episodes.map((ref) => ({ ...ref }));
    },
    readEpisode: async (ref) => read(ref),
  };
}
