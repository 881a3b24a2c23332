import type { Worker } from "node:worker_threads";
import type { EpisodeRef } from "../../episode-source.js";
import { DataError } from "../../errors.js";
import { startWorker } from "../../start-worker.js";
import type { ConvertFolders } from "./convert-episode.js";

/** A thread that converts one episode at a time. */
export class ConvertWorker {
  private readonly worker: Worker;
  private crash: Error | null = null;
  private settle: ((outcome: number | null | Error) => void) | null = null;

  constructor(folders: ConvertFolders) {
    this.worker = startWorker("formats/compact/convert-worker", folders);
    this.worker.on("message", (bytes: number | null) => this.settle?.(bytes));
    this.worker.on("error", (error) => this.end(error));
    this.worker.on("exit", (code) => this.end(new Error(`it ended with exit code ${code}`)));
  }

  /**
   * Size of the episode that was written, or null where its data are bad.
   *
   * @throws DataError naming the episode when the thread ends
   */
  async convert(ref: EpisodeRef): Promise<number | null> {
    const outcome = await new Promise<number | null | Error>((settle) => {
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
