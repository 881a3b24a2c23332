import type { DataStatistics, PolicyBatch } from "@md/diffusion";
import { drawBatch, type KeyPoseDataset, positionBounds } from "@md/rlbench-data";
import type { TrainConfig } from "../config/schema.js";

/** The batches of a run, as a function of their index alone. */
export function batchSource(
  dataset: KeyPoseDataset,
  { seed, data, training }: TrainConfig,
): (index: number) => PolicyBatch {
  const { points, sampling, rotationRange, jitter, pointJitter } = data;
  const { batchSize } = training;
  return (step) => drawBatch(dataset, { seed, step, batchSize, points, sampling, rotationRange, jitter, pointJitter });
}

/** What a policy has to know of its training data. */
export function dataStatistics(
  dataset: KeyPoseDataset,
  { rotationRange, jitter }: TrainConfig["data"],
): DataStatistics {
  return { positionBounds: positionBounds(dataset, { rotationRange, jitter }), instructionDim: dataset.instructionDim };
}
