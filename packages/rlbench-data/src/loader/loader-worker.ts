import { parentPort, workerData } from "node:worker_threads";
import { BatchDrawer } from "../draw-batch.js";
import { DataError } from "../errors.js";
import type { Drawn, LoaderJob } from "./loader-thread.js";

// A worker thread of a loader: each message is a batch's index, each answer the batch or what is wrong with its data.
// Any other error ends the thread; `current` then says at which state.
const { dataset, options, variableSize, current } = workerData as LoaderJob;
const drawer = new BatchDrawer(dataset, options, (index) => Atomics.store(current, 0, index));

function draw(index: number): Drawn {
  try {
    return { batch: variableSize ? drawer.drawVariable(index) : drawer.draw(index) };
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    return { source: error.source, problem: error.problem };
  }
}

parentPort!.on("message", (index: number) => {
  const drawn = draw(index);
  Atomics.store(current, 0, -1);
  const arrays = "batch" in drawn ? Object.values(drawn.batch).filter((value) => typeof value === "object") : [];
  parentPort!.postMessage(
    drawn,
    arrays.map(({ buffer }) => buffer as ArrayBuffer),
  );
});
