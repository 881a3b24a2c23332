import { parentPort } from "node:worker_threads";
import type { EpisodeRef } from "../episode-source.js";
import { orSkipAsync } from "../errors.js";

/**
 * Answers each episode that the thread's `EpisodeWorker` sends with what `body` makes of it, or with null where its data
 * are bad: errors lose their class on the way between threads, so whoever wants to know them tries again.
 */
export function serveEpisodes<Result, Job extends EpisodeRef = EpisodeRef>(body: (ref: Job) => Promise<Result>): void {
  parentPort!.on("message", async (ref: Job) => {
    const result = await orSkipAsync(
      () => undefined,
      () => body(ref),
    );
    parentPort!.postMessage(result ?? null);
  });
}
