import { availableParallelism } from "node:os";
import type { EpisodeRef } from "../episode-source.js";

const MAX_WORKERS = 8;
const EPISODES_A_WORKER = 16;

/** How many threads so many episodes are worth: a thread takes longer to start than a few episodes take. */
export function workersFor(episodes: number): number {
  const most = Math.min(availableParallelism(), MAX_WORKERS);
  return episodes < EPISODES_A_WORKER * 2 || most < 2 ? 0 : Math.min(most, Math.floor(episodes / EPISODES_A_WORKER));
}

/** What {@link inLanes} hands out, and to whom. */
export interface LaneOptions<Worker> {
  /** Worker threads; 0 for none. Default: {@link workersFor} the episodes. */
  workers?: number;
  startWorker: () => Worker;
  /** Takes what is left from the lanes, which end with the episode at hand. */
  signal?: AbortSignal;
}

/**
 * Hands each episode, and its place in the list, to `body` in order, one at a time a lane: a worker thread each, or
 * without workers one lane of this thread. After an error the other lanes end with the episode at hand, so that nothing
 * is half-done; thrown is the error of the first episode that has one, whatever the number of workers.
 */
export async function inLanes<Worker extends { close(): Promise<void> }>(
  episodes: readonly EpisodeRef[],
  { workers = workersFor(episodes.length), startWorker, signal }: LaneOptions<Worker>,
  body: (ref: EpisodeRef, worker: Worker | null, place: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  let failed = Infinity;
  let failure: unknown;
  const lane = async (worker: Worker | null): Promise<void> => {
    while (next < episodes.length && failed === Infinity && !signal?.aborted) {
      const place = next++;
      try {
        await body(episodes[place], worker, place);
      } catch (error) {
        if (place < failed) [failed, failure] = [place, error];
      }
      // So that a signal is seen between episodes that never wait.
      await new Promise((resume) => setImmediate(resume));
    }
    await worker?.close();
  };
  await Promise.all((workers === 0 ? [null] : Array.from({ length: workers }, startWorker)).map(lane));
  if (failed < Infinity) throw failure;
}
