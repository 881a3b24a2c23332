import { setImmediate } from "node:timers/promises";
import type { Policy, SolverOptions } from "@md/diffusion";
import { collate, type KeyPoseBatch, type KeyPoseDataset, type Sampling } from "@md/rlbench-data";
import { aggregate, drawCandidates, type PredictOptions, type Prediction } from "./predict.js";
import { type Score, score, type Truth } from "./score.js";

/** One key pose, what was answered, and how far that is off. */
export interface KeyPoseResult extends Score {
  task: string;
  episode: string;
  keyPose: number;
  frame: number;
  prediction: Prediction;
  target: { position: number[]; quaternion: number[]; rotationBins: number[]; open: number };
}

export interface EvaluateOptions extends PredictOptions {
  /** Points a scene. */
  points: number;
  /** How they are drawn. Default "uniform". */
  sampling?: Sampling;
  /** Degrees by which every scene is turned about z. Default 0. */
  turn?: number;
  /** Scenes at a time. Default 8. */
  batchSize?: number;
}

/** Judges a policy on every state of a data set. Yields to the event loop between batches. */
export async function evaluate(
  policy: Policy,
  dataset: KeyPoseDataset,
  options: EvaluateOptions,
): Promise<KeyPoseResult[]> {
  const results: KeyPoseResult[] = [];
  for await (const batch of batches(dataset, options)) {
    const seed = options.seed + results.length;
    const predictions = aggregate(drawCandidates(policy, batch, { ...options, seed }));
    predictions.forEach((prediction, b) => results.push(judge(dataset, batch, b, prediction)));
  }
  return results;
}

/** Judges answers that need no policy, such as a constant. */
export async function evaluateAnswers(
  dataset: KeyPoseDataset,
  options: Omit<EvaluateOptions, "samples" | keyof SolverOptions>,
  answer: (batch: KeyPoseBatch, b: number) => Prediction,
): Promise<KeyPoseResult[]> {
  const results: KeyPoseResult[] = [];
  for await (const batch of batches(dataset, options)) {
    for (let b = 0; b < batch.size; b++) results.push(judge(dataset, batch, b, answer(batch, b)));
  }
  return results;
}

/** The states of a data set in order, some at a time. Yields to the event loop between batches. */
export async function* batches(
  dataset: KeyPoseDataset,
  options: Pick<EvaluateOptions, "points" | "sampling" | "turn" | "batchSize" | "seed">,
): AsyncGenerator<KeyPoseBatch> {
  const { points, sampling, turn = 0, batchSize = 8, seed } = options;
  const total = dataset.samples.length;
  for (let first = 0; first < total; first += batchSize) {
    const indices = Array.from({ length: Math.min(batchSize, total - first) }, (_, i) => first + i);
    yield collate(dataset, indices, { seed, points, sampling, turn });
    await setImmediate();
  }
}

/** Holds the answer to scene `b` of a batch against its target. */
export function judge(dataset: KeyPoseDataset, batch: KeyPoseBatch, b: number, prediction: Prediction): KeyPoseResult {
  const { task, episode, keyPoseIndex, frame } = dataset.samples[batch.sampleIndices[b]!]!;
  const truth: Truth = {
    position: batch.targetPosition.subarray(3 * b, 3 * b + 3),
    quaternion: batch.targetQuaternion.subarray(4 * b, 4 * b + 4),
    rotationBins: batch.targetRotationBins.subarray(3 * b, 3 * b + 3),
    open: batch.targetOpen[b]!,
  };
  const target = {
    position: Array.from(truth.position),
    quaternion: Array.from(truth.quaternion),
    rotationBins: Array.from(truth.rotationBins),
    open: truth.open,
  };
  return { task, episode, keyPose: keyPoseIndex, frame, prediction, target, ...score(prediction, truth) };
}
