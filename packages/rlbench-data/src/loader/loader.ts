import type { KeyPoseBatch, VariableBatch } from "../batch.js";
import { BatchDrawer, type DrawRunOptions } from "../draw-batch.js";
import { DataError } from "../errors.js";
import type { KeyPoseDataset } from "../key-pose-dataset.js";
import { LoaderThread } from "./loader-thread.js";
import { shareDataset } from "./shared-dataset.js";

const MAX_WORKERS = 64;
/** The most batches that a loader draws ahead. */
export const MAX_PREFETCH = 1024;

/** What a loader draws, and how far ahead. */
export interface LoaderOptions extends DrawRunOptions {
  /** Worker threads; 0: a batch is drawn in this thread, when it is asked for. Default 1. */
  workers?: number;
  /** Batches that are drawn beyond the one asked for, by all workers together. Default 2 a worker. */
  prefetch?: number;
}

/** The batches of a run, by their index from 0. */
export interface BatchLoader<Batch> {
  /**
   * Batch `index`; those behind it are then drawn ahead. Threads start with the first call.
   *
   * @throws DataError for bad data, when a worker thread ends, naming the episode that it was at, or after `close`
   */
  batch(index: number): Promise<Batch>;
  /** Ends the threads; batches that are waited for are refused. Idle threads do not keep the process from ending. */
  close(): Promise<void>;
}

/**
 * Draws the batches of a run ahead in worker threads. Batch `index` is what `drawBatch` draws for this step, to the bit,
 * whatever the number of workers; so a run goes on by asking for its next index. Clouds and embeddings lie in memory
 * that the threads share, and batches are handed over without a copy.
 *
 * @throws DataError when an option makes no sense
 */
export function loadBatches(dataset: KeyPoseDataset, options: LoaderOptions): BatchLoader<KeyPoseBatch> {
  return load(dataset, options, false) as BatchLoader<KeyPoseBatch>;
}

/** {@link loadBatches} of what `drawVariableBatch` draws. */
export function loadVariableBatches(dataset: KeyPoseDataset, options: LoaderOptions): BatchLoader<VariableBatch> {
  return load(dataset, options, true) as BatchLoader<VariableBatch>;
}

function load(
  dataset: KeyPoseDataset,
  { workers = 1, prefetch = Math.max(1, 2 * workers), ...options }: LoaderOptions,
  variableSize: boolean,
): BatchLoader<KeyPoseBatch | VariableBatch> {
  checkCount("workers", workers, 0, MAX_WORKERS);
  checkCount("prefetch", prefetch, 1, MAX_PREFETCH);
  // Also checks the options.
  const drawer = new BatchDrawer(dataset, options);
  if (workers === 0) {
    return new DirectLoader((index) => (variableSize ? drawer.drawVariable(index) : drawer.draw(index)));
  }
  const job = { dataset: shareDataset(dataset), options, variableSize };
  return new PrefetchingLoader(() => Array.from({ length: workers }, () => new LoaderThread(job)), prefetch);
}

class DirectLoader<Batch> implements BatchLoader<Batch> {
  private closed = false;

  constructor(private readonly draw: (index: number) => Batch) {}

  async batch(index: number): Promise<Batch> {
    checkOpen(this.closed);
    return this.draw(index);
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

class PrefetchingLoader implements BatchLoader<KeyPoseBatch | VariableBatch> {
  /** Batches that are drawn ahead, by index. */
  private readonly ahead = new Map<number, Promise<KeyPoseBatch | VariableBatch>>();
  private threads: readonly LoaderThread[] = [];
  private waiting = 0;
  private closed = false;

  constructor(
    private readonly startThreads: () => LoaderThread[],
    private readonly prefetch: number,
  ) {}

  async batch(index: number): Promise<KeyPoseBatch | VariableBatch> {
    checkOpen(this.closed);
    checkCount("index", index, 0, Number.MAX_SAFE_INTEGER - MAX_PREFETCH);
    if (this.threads.length === 0) this.threads = this.startThreads();
    const last = index + this.prefetch;
    for (const at of this.ahead.keys()) if (at < index || at > last) this.ahead.delete(at);
    for (let at = index; at <= last; at++) if (!this.ahead.has(at)) this.ahead.set(at, this.draw(at));
    const batch = this.ahead.get(index)!;
    this.ahead.delete(index);
    if (this.waiting++ === 0) this.hold(true);
    try {
      return await batch;
    } finally {
      if (--this.waiting === 0) this.hold(false);
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    this.ahead.clear();
    await Promise.all(this.threads.map((thread) => thread.close(new DataError("loader", "is closed"))));
  }

  private draw(index: number): Promise<KeyPoseBatch | VariableBatch> {
    const batch = this.threads[index % this.threads.length].draw(index);
    // Whoever asks for it gets the error; that nobody does is none.
    batch.catch(() => undefined);
    return batch;
  }

  private hold(held: boolean): void {
    for (const thread of this.threads) thread.hold(held);
  }
}

function checkOpen(closed: boolean): void {
  if (closed) throw new DataError("loader", "is closed");
}

function checkCount(name: string, value: number, least: number, most: number): void {
  if (!Number.isSafeInteger(value) || value < least || value > most)
    throw new DataError("loader", `${name} is ${value}, expected an integer from ${least} to ${most}`);
}
