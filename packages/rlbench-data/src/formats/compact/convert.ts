import { existsSync } from "node:fs";
import type { EpisodeRef } from "../../episode-source.js";
import { DataError, type OnBad, orSkip, orSkipAsync } from "../../errors.js";
import { openDataset } from "../../open-dataset.js";
import { inLanes } from "../../threads/episode-lanes.js";
import { EpisodeWorker } from "../../threads/episode-worker.js";
import { beginConversion, checkConversion, type Conversion, endConversion } from "../conversion-folder.js";
import { convertEpisode, type ConvertFolders } from "./convert-episode.js";
import { openCompactEpisode } from "./decode.js";
import { episodeFile, INDEX_FILE } from "./source.js";
import { writeCompactIndex } from "./write.js";

/** What {@link convertDataset} converts. */
export interface ConvertOptions {
  /** Folder of episodes in any format. */
  from: string;
  /** Folder to write; new, empty, or that of an interrupted conversion of the same data, which then goes on. */
  to: string;
  /** Worker threads; 0 for none. Default: by the number of episodes and processors. */
  workers?: number;
  /** Called with each episode or part that cannot be read, which is then left out. Default: the error is thrown. */
  onBad?: OnBad;
  /** Called after each episode. */
  onProgress?: (progress: ConvertProgress) => void;
  /** Ends the conversion after the episode at hand; the same call goes on with it. */
  signal?: AbortSignal;
}

/** How far a conversion is. */
export interface ConvertProgress {
  done: number;
  total: number;
  /** The last episode. */
  id: string;
}

/** Outcome of a conversion. */
export interface ConvertResult {
  /** False when it was aborted. */
  finished: boolean;
  /** Episodes written now. */
  written: number;
  /** Episodes that an interrupted conversion had written. */
  kept: number;
  /** Episodes left out because they cannot be read. */
  skipped: number;
  /** Bytes written now. */
  bytes: number;
}

/**
 * Converts the key steps of a data set to the compact format. Each episode is read back after it is written, and is in
 * its place whole or not at all; the index comes last.
 *
 * @throws DataError when `to` holds anything else, or an episode cannot be read and there is no `onBad`
 */
export async function convertDataset(options: ConvertOptions): Promise<ConvertResult> {
  const { from, to, onBad, onProgress, signal } = options;
  const source = openDataset(from, { onBad });
  const episodes = source.listEpisodes();
  const conversion: Conversion = { from, to, format: "compact", indexFile: INDEX_FILE };
  checkConversion(conversion);
  beginConversion(conversion);
  const result: ConvertResult = { finished: false, written: 0, kept: 0, skipped: 0, bytes: 0 };
  const skipped = new Set<EpisodeRef>();
  let done = 0;
  const report = ({ id }: EpisodeRef): void => {
    done++;
    onProgress?.({ done, total: episodes.length, id });
  };
  const missing: EpisodeRef[] = [];
  for (const ref of episodes) {
    if (isThere(ref, to)) {
      result.kept++;
      report(ref);
    } else missing.push(ref);
  }
  const convert = async (ref: EpisodeRef, worker: EpisodeWorker<number> | null): Promise<void> => {
    // What a worker cannot convert is tried again here, where its error is whole.
    const byWorker = worker && (await worker.run(ref));
    const bytes = byWorker ?? (await orSkipAsync(onBad, () => convertEpisode(source, ref, to)));
    if (bytes === undefined) {
      skipped.add(ref);
      result.skipped++;
    } else {
      result.written++;
      result.bytes += bytes;
    }
    report(ref);
  };
  const startWorker = (): EpisodeWorker<number> =>
    new EpisodeWorker("formats/compact/convert-worker", { from, to } satisfies ConvertFolders);
  await inLanes(missing, { workers: options.workers, startWorker, signal }, convert);
  if (done < episodes.length) return result;
  const present = episodes.filter((ref) => !skipped.has(ref));
  if (present.length === 0) throw new DataError(from, "has no episode that can be converted");
  writeCompactIndex(to, present);
  endConversion(conversion);
  return { ...result, finished: true };
}

// Whether an interrupted conversion has written the episode. One that does not open is written anew.
function isThere(ref: EpisodeRef, to: string): boolean {
  const file = episodeFile(to, ref.id);
  const ignore = (): void => undefined;
  return existsSync(file) && orSkip(ignore, () => openCompactEpisode({ ...ref, location: file })) !== undefined;
}
