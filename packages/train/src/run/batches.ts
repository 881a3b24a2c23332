import type { DataStatistics, PolicyBatch } from "@md/diffusion";
import {
  type BatchLoader,
  drawBatch,
  type DrawRunOptions,
  type KeyPoseBatch,
  type KeyPoseDataset,
  loadBatches,
  MAX_PREFETCH,
  positionBounds,
} from "@md/rlbench-data";
import type { TrainConfig } from "../config/schema.js";

/** The batches of a run, as a function of their index alone; drawn when they are asked for. */
export function batchSource(dataset: KeyPoseDataset, config: TrainConfig): (index: number) => PolicyBatch {
  const options = drawOptions(config);
  return (step) => drawBatch(dataset, { ...options, step });
}

/** The same batches, drawn ahead by `data.workers` threads: those of the next step, and at least two a thread. */
export function batchLoader(dataset: KeyPoseDataset, config: TrainConfig): BatchLoader<KeyPoseBatch> {
  const { workers } = config.data;
  const prefetch = Math.min(MAX_PREFETCH, Math.max(config.training.accumulate, 2 * workers));
  return loadBatches(dataset, { ...drawOptions(config), workers, prefetch });
}

function drawOptions({ seed, data, training: { batchSize } }: TrainConfig): DrawRunOptions {
  const { points, sampling, rotationRange, jitter, pointJitter } = data;
  const taskWeights = data.taskWeights ?? undefined;
  return { seed, batchSize, points, sampling, rotationRange, jitter, pointJitter, taskWeights };
}

/** What a policy has to know of its training data. */
export function dataStatistics(
  dataset: KeyPoseDataset,
  { rotationRange, jitter }: TrainConfig["data"],
): DataStatistics {
  return { positionBounds: positionBounds(dataset, { rotationRange, jitter }), instructionDim: dataset.instructionDim };
}
