import type { Worker } from "node:worker_threads";
import type { KeyPoseBatch, VariableBatch } from "../batch.js";
import type { DrawRunOptions } from "../draw-batch.js";
import { DataError } from "../errors.js";
import type { KeyPoseDataset } from "../key-pose-dataset.js";
import { startWorker } from "../threads/start-worker.js";

/** What a worker thread is started with. */
export interface LoaderJob {
  /** Its arrays lie in shared memory. */
  dataset: KeyPoseDataset;
  options: DrawRunOptions;
  /** Whether batches are variable ones. */
  variableSize: boolean;
  /** Shared memory: index of the state that the thread is drawing, or -1. */
  current: Int32Array;
}

/** Answer of a worker thread. Errors lose their class on the way between threads. */
export type Drawn = { batch: KeyPoseBatch | VariableBatch } | { source: string; problem: string };

type Outcome = { batch: KeyPoseBatch | VariableBatch } | { error: Error };

/** A thread that draws batches in the order in which they are asked for. It does not keep the process from ending. */
export class LoaderThread {
  private readonly worker: Worker;
  private readonly current = new Int32Array(new SharedArrayBuffer(4)).fill(-1);
  private readonly asked: ((outcome: Outcome) => void)[] = [];
  private end: Error | null = null;

  constructor(job: Omit<LoaderJob, "current">) {
    const { samples } = job.dataset;
    this.worker = startWorker("loader/loader-worker", { ...job, current: this.current } satisfies LoaderJob);
    this.worker.unref();
    // Nobody waits for what arrives after the end.
    this.worker.on("message", (drawn: Drawn) =>
      this.asked.shift()?.("batch" in drawn ? drawn : { error: new DataError(drawn.source, drawn.problem) }),
    );
    const crashed = (cause: Error): void => {
      const sample = samples[this.current[0]];
      const place = sample ? `${sample.episode} frame ${sample.frame}` : "loader";
      this.stop(new DataError(place, `a worker thread failed: ${cause.message}`, { cause }));
    };
    this.worker.on("error", (error) => crashed(error));
    this.worker.on("exit", (code) => crashed(new Error(`it ended with exit code ${code}`)));
  }

  /** @throws DataError for bad data, and naming the episode at hand when the thread ends */
  async draw(index: number): Promise<KeyPoseBatch | VariableBatch> {
    const outcome = await new Promise<Outcome>((settle) => {
      if (this.end) return settle({ error: this.end });
      this.asked.push(settle);
      this.worker.postMessage(index);
    });
    if ("error" in outcome) throw outcome.error;
    return outcome.batch;
  }

  /** Whether the process is to wait for the thread. */
  hold(held: boolean): void {
    if (held) this.worker.ref();
    else this.worker.unref();
  }

  /** Ends the thread; what it was asked for is refused with `reason`. */
  async close(reason: Error): Promise<void> {
    this.stop(reason);
    await this.worker.terminate();
  }

  private stop(reason: Error): void {
    this.end ??= reason;
    for (const settle of this.asked.splice(0)) settle({ error: this.end });
  }
}
