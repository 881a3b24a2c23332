import type { Worker } from "node:worker_threads";
import type { EpisodeRef } from "../episode-source.js";
import { DataError } from "../errors.js";
import { startWorker } from "./start-worker.js";

/**
 * A thread that turns one episode at a time, and what else a job says of it, into a result, or into null where its data
 * are bad.
 */
export class EpisodeWorker<Result, Job extends EpisodeRef = EpisodeRef> {
  private readonly worker: Worker;
  private crash: Error | null = null;
  private settle: ((outcome: Result | null | Error) => void) | null = null;

  /** @param file as `startWorker` takes it, of a module that calls `serveEpisodes` */
  constructor(file: string, workerData: unknown) {
    this.worker = startWorker(file, workerData);
    this.worker.on("message", (result: Result | null) => this.settle?.(result));
    this.worker.on("error", (error) => this.end(error));
    this.worker.on("exit", (code) => this.end(new Error(`it ended with exit code ${code}`)));
  }

  /** @throws DataError naming the episode when the thread ends */
  async run(ref: Job): Promise<Result | null> {
    const outcome = await new Promise<Result | null | Error>((settle) => {
      this.settle = settle;
      if (this.crash) settle(this.crash);
      else this.worker.postMessage(ref);
    });
    this.settle = null;
    if (outcome instanceof Error)
      throw new DataError(ref.location, `its worker thread failed: ${outcome.message}`, { cause: outcome });
    return outcome;
  }

  /** Ends the thread, which must have nothing at hand. */
  async close(): Promise<void> {
    await this.worker.terminate();
  }

  private end(error: Error): void {
    this.crash ??= error;
    this.settle?.(this.crash);
  }
}
