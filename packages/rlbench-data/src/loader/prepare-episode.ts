import { demonstrationOf } from "../demonstration.js";
import type { EpisodeRef, EpisodeSource } from "../episode-source.js";
import { type KeyPoseState, prepareStates, type StateOptions } from "../key-pose-dataset.js";
import { openDataset } from "../open-dataset.js";

/** What of an episode becomes training states; plain data, so it can be sent to a worker thread. */
export interface EpisodeOptions extends StateOptions {
  /** Default: those that `demonstrationOf` takes. */
  cameras?: readonly string[];
}

/** Turns episodes, of any data sets, into training states. */
export class EpisodePreparer {
  private readonly sources = new Map<string, EpisodeSource>();

  constructor(private readonly options: EpisodeOptions) {}

  /** @throws DataError and others as `readEpisode` and `prepareKeyPoses` do */
  async prepare(ref: EpisodeRef): Promise<KeyPoseState[]> {
    // What else of the folder cannot be listed was told when the episode was.
    const source = this.sources.get(ref.root) ?? openDataset(ref.root, { onBad: () => undefined });
    this.sources.set(ref.root, source);
    const { cameras, ...options } = this.options;
    return prepareStates(demonstrationOf(await source.readEpisode(ref), { cameras }), options);
  }
}
