import type { EpisodeRef } from "../episode-source.js";
import { orSkipAsync } from "../errors.js";
import {
  checkStride,
  datasetOf,
  DEFAULT_ENCODER,
  instructionEmbedder,
  type KeyPoseDataset,
  type KeyPoseDatasetOptions,
  type KeyPoseSample,
  type KeyPoseState,
} from "../key-pose-dataset.js";
import { inLanes } from "../threads/episode-lanes.js";
import { EpisodeWorker } from "../threads/episode-worker.js";
import { type EpisodeOptions, EpisodePreparer } from "./prepare-episode.js";

/** How episodes are read and become training states. */
export interface LoadKeyPosesOptions extends KeyPoseDatasetOptions, EpisodeOptions {
  /** Worker threads; 0 for none. Default: by the number of episodes and processors. */
  workers?: number;
}

/**
 * Reads episodes and prepares them for training as `prepareKeyPoses` does, in worker threads. States, and what `onBad`
 * is called with, come in the order of the episodes, whatever the number of workers.
 *
 * @throws DataError as `prepareKeyPoses`, of the first episode that is bad, and, with `onBad` too, naming an episode
 *   whose thread ends
 */
export async function loadKeyPoses(
  episodes: readonly EpisodeRef[],
  { encoder = DEFAULT_ENCODER, onBad, workers, ...options }: LoadKeyPosesOptions = {},
): Promise<KeyPoseDataset> {
  checkStride(options);
  const embed = instructionEmbedder(encoder);
  const preparer = new EpisodePreparer(options);
  const outcomes = new Array<KeyPoseSample[] | Error>(episodes.length);
  const prepare = async (
    ref: EpisodeRef,
    worker: EpisodeWorker<KeyPoseState[]> | null,
    place: number,
  ): Promise<void> => {
    const keep = (error: Error): void => void (outcomes[place] = error);
    // That a worker ends is not known to be the episode's fault, and ends the loading. What it cannot prepare is tried
    // again here, where its error is whole.
    const byWorker = worker && (await worker.run(ref));
    await orSkipAsync(onBad && keep, async () => {
      outcomes[place] = embed(byWorker ?? (await preparer.prepare(ref)));
    });
  };
  const startWorker = (): EpisodeWorker<KeyPoseState[]> =>
    new EpisodeWorker("loader/prepare-worker", options satisfies EpisodeOptions);
  await inLanes(episodes, { workers, startWorker }, prepare);
  const samples = outcomes.flatMap((outcome) => {
    if (!(outcome instanceof Error)) return outcome;
    onBad?.(outcome);
    return [];
  });
  return datasetOf(samples, encoder);
}
