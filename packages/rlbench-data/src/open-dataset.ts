import type { EpisodeSource } from "./episode-source.js";
import { openRLBenchSource } from "./rlbench/source.js";

/** What opening a data set does about what cannot be read. */
export interface OpenDatasetOptions {
  /** Called with each part that cannot be listed, which is then left out. Default: the error is thrown. */
  onBad?: (error: Error) => void;
}

/**
 * Opens a folder of episodes in whichever format it is; see `EpisodeFormat`.
 *
 * @throws DataError when the folder is missing or holds no format that is known
 */
export function openDataset(root: string, _options: OpenDatasetOptions = {}): EpisodeSource {
  return openRLBenchSource(root);
}
