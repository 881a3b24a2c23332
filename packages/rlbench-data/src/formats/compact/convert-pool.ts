import { Worker } from "node:worker_threads";
import type { EpisodeRef } from "../../episode-source.js";
import { DataError } from "../../errors.js";
import type { ConvertFolders } from "./convert-episode.js";

// From the sources a worker thread needs the loader of TypeScript, which it does not take over from this one.
function startWorker(workerData: ConvertFolders): Worker {
  if (!import.meta.url.endsWith(".ts"))
    return new Worker(new URL("./convert-worker.js", import.meta.url), { workerData });
  const [loader, source] = [import.meta.resolve("tsx/esm/api"), new URL("./convert-worker.ts", import.meta.url).href];
  const start = `import("${loader}").then(({ register }) => { register(); return import("${source}"); })`;
  return new Worker(start, { eval: true, workerData, execArgv: ["--conditions", "@md/source"] });
}

/** A thread that converts one episode at a time. */
export class ConvertWorker {
  private readonly worker: Worker;
  private crash: Error | null = null;
  private settle: ((outcome: number | null | Error) => void) | null = null;

  constructor(folders: ConvertFolders) {
    this.worker = startWorker(folders);
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
