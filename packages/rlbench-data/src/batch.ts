import { DataError } from "./errors.js";
import type { KeyPoseDataset, KeyPoseSample } from "./key-pose-dataset.js";
import { jitterPoints, SceneMotion } from "./pipeline/augment.js";
import { type Sampling, samplePointsNear } from "./pipeline/sampling.js";
import { pointCount, RLBENCH_WORKSPACE_CENTER, samplePoints, takeRows } from "./point-cloud.js";
import { CounterRandom } from "./random.js";
import { quaternionToRotationBins, type Vector3 } from "./rotation.js";

/** B training states as flat, row-major arrays. */
export interface KeyPoseBatch {
  /** B. */
  size: number;
  /** N, points a scene. */
  pointsPerScene: number;
  /** T, tokens of the longest instruction of the batch. */
  instructionTokens: number;
  /** D, components of an instruction token. */
  instructionDim: number;
  /** Metres, [B, N, 3]. A scene of fewer than N points holds some of them more than once. */
  points: Float32Array;
  /** RGB in [0, 1], [B, N, 3]. */
  colors: Float32Array;
  /** [B, T, D]; tokens from `instructionLengths` on are zero padding, to be masked. */
  instruction: Float32Array;
  /** Tokens of each instruction, [B]. */
  instructionLengths: Int32Array;
  /** Gripper position, quaternion xyzw and opening at the observation, [B, 8]. */
  proprio: Float32Array;
  /** Place of the target among the key poses of its episode, from 0, [B]. */
  stepIds: Int32Array;
  /** Metres, [B, 3]. */
  targetPosition: Float32Array;
  /** xyzw, [B, 4]. */
  targetQuaternion: Float32Array;
  /** 1 open, 0 closed, [B]. */
  targetOpen: Float32Array;
  /** 5° Euler bins of the target's rotation, [B, 3]. */
  targetRotationBins: Int32Array;
  /** Index of each state in the data set, [B]. */
  sampleIndices: Int32Array;
  /** Degrees by which each scene is turned about z, [B]. */
  turns: Float32Array;
}

/** What {@link drawBatch} draws. */
export interface DrawOptions {
  /** Non-negative integer below 2^53. */
  seed: number;
  /** Batch number from 0; the epoch follows from it. */
  step: number;
  batchSize: number;
  /** Points a scene. */
  points: number;
  /** Scenes are turned about z by up to this many degrees either way. Default 0. */
  rotationRange?: number;
  /** Scenes are shifted by up to this many metres either way an axis. Default 0. */
  jitter?: number;
  /** Each point is moved by up to this many metres either way an axis, poses are not. Default 0. */
  pointJitter?: number;
  /** Default "uniform". */
  sampling?: Sampling;
  /** What scenes are turned about, in metres. Default {@link RLBENCH_WORKSPACE_CENTER}. */
  center?: Vector3;
}

/** What {@link collate} does with the states it is given. */
export interface CollateOptions {
  /** Seed of the point sampling. */
  seed: number;
  /** Points a scene. */
  points: number;
  /** Default "uniform". */
  sampling?: Sampling;
  /** Degrees by which every scene is turned about z. Default 0. */
  turn?: number;
  /** What scenes are turned about, in metres. Default {@link RLBENCH_WORKSPACE_CENTER}. */
  center?: Vector3;
}

const MAX_SCENES = 2 ** 16;
const MAX_BATCH_POINTS = 2 ** 27;

const PURPOSE = { order: 1, draw: 2, collate: 3 } as const;

/**
 * Draws a training batch. Each epoch visits every state once, in an order of its own; points,
 * instruction wording and augmentation are drawn anew. All of it is a function of (seed, epoch,
 * position in the epoch) alone, so a run that stops after any step can go on from there to the bit.
 *
 * Rotation and shift move cloud, gripper and target together.
 *
 * @throws DataError when a count, range or the seed makes no sense, or the batch is too large
 */
export function drawBatch(dataset: KeyPoseDataset, options: DrawOptions): KeyPoseBatch {
  const { seed, step, batchSize, points, rotationRange = 0, jitter = 0, pointJitter = 0 } = options;
  checkCounts({ step, batchSize, points }, { step: 0, batchSize: 1, points: 1 });
  checkSize(batchSize, points);
  checkRanges({ rotationRange, jitter, pointJitter });
  const total = dataset.samples.length;
  let order: { epoch: number; indices: Int32Array } | undefined;
  const picks = Array.from({ length: batchSize }, (_, b): Pick => {
    const epoch = Math.floor((step * batchSize + b) / total);
    const position = (step * batchSize + b) % total;
    if (order?.epoch !== epoch)
      order = { epoch, indices: new CounterRandom(seed, [PURPOSE.order, epoch, 0]).permutation(total) };
    const index = order.indices[position];
    const random = new CounterRandom(seed, [PURPOSE.draw, epoch, position]);
    const wording = random.below(dataset.samples[index].embeddings.length);
    const turn = random.between(-rotationRange, rotationRange);
    const shift: Vector3 = [
      random.between(-jitter, jitter),
      random.between(-jitter, jitter),
      random.between(-jitter, jitter),
    ];
    return { index, wording, turn, shift, random };
  });
  return assemble(dataset, picks, options);
}

/**
 * Collates given states, e.g. for evaluation: first wording of the instruction, one turn for all
 * scenes, no shift; the points sampled are a function of (seed, state) alone.
 *
 * @throws DataError when there are no indices or one is out of range
 */
export function collate(dataset: KeyPoseDataset, indices: ArrayLike<number>, options: CollateOptions): KeyPoseBatch {
  const { seed, points, turn = 0 } = options;
  checkCounts({ points, indices: indices.length }, { points: 1, indices: 1 });
  checkSize(indices.length, points);
  checkRanges({ turn: Math.abs(turn) });
  const picks = Array.from(indices, (index): Pick => {
    if (!dataset.samples[index])
      throw new DataError("collate", `there is no state ${index} of ${dataset.samples.length}`);
    return { index, wording: 0, turn, shift: [0, 0, 0], random: new CounterRandom(seed, [PURPOSE.collate, index, 0]) };
  });
  return assemble(dataset, picks, options);
}

/** One state of a batch: which, and how it is drawn. */
interface Pick {
  index: number;
  wording: number;
  turn: number;
  shift: Vector3;
  random: CounterRandom;
}

/** What decides the points of a scene, beside its {@link Pick}. */
interface SceneOptions {
  points: number;
  sampling?: Sampling;
  pointJitter?: number;
  center?: Vector3;
}

function assemble(dataset: KeyPoseDataset, picks: readonly Pick[], options: SceneOptions): KeyPoseBatch {
  const { points: pointsPerScene, center = RLBENCH_WORKSPACE_CENTER } = options;
  const size = picks.length;
  const instructionDim = dataset.instructionDim;
  const chosen = picks.map(({ index, wording }) => dataset.samples[index].embeddings[wording]);
  const instructionTokens = Math.max(...chosen.map(({ tokens }) => tokens));
  const batch: KeyPoseBatch = {
    size,
    pointsPerScene,
    instructionTokens,
    instructionDim,
    points: new Float32Array(size * pointsPerScene * 3),
    colors: new Float32Array(size * pointsPerScene * 3),
    instruction: new Float32Array(size * instructionTokens * instructionDim),
    instructionLengths: Int32Array.from(chosen, ({ tokens }) => tokens),
    proprio: new Float32Array(size * 8),
    stepIds: Int32Array.from(picks, ({ index }) => dataset.samples[index].keyPoseIndex),
    targetPosition: new Float32Array(size * 3),
    targetQuaternion: new Float32Array(size * 4),
    targetOpen: new Float32Array(size),
    targetRotationBins: new Int32Array(size * 3),
    sampleIndices: Int32Array.from(picks, ({ index }) => index),
    turns: Float32Array.from(picks, ({ turn }) => turn),
  };
  picks.forEach((pick, b) => {
    const sample = dataset.samples[pick.index];
    const motion = new SceneMotion(pick.turn, pick.shift, center);
    drawPoints(batch, b, sample, pick.random, motion, options);
    batch.instruction.set(chosen[b].data, b * instructionTokens * instructionDim);
    const gripper = motion.moveGripper(sample.gripper);
    batch.proprio.set([...gripper.position, ...gripper.quaternion, gripper.open], 8 * b);
    const target = motion.moveGripper(sample.target);
    batch.targetPosition.set(target.position, 3 * b);
    batch.targetQuaternion.set(target.quaternion, 4 * b);
    batch.targetOpen[b] = target.open;
    batch.targetRotationBins.set(quaternionToRotationBins(target.quaternion), 3 * b);
  });
  return batch;
}

function drawPoints(
  batch: KeyPoseBatch,
  b: number,
  { cloud, gripper, episode, frame }: KeyPoseSample,
  random: CounterRandom,
  motion: SceneMotion,
  { points, sampling = "uniform", pointJitter = 0 }: SceneOptions,
): void {
  const source = `${episode} frame ${frame}`;
  const indices =
    sampling === "uniform"
      ? samplePoints(pointCount(cloud), points, random, source)
      : samplePointsNear(cloud, gripper.position, points, random, source);
  const [first, last] = [3 * b * points, 3 * (b + 1) * points];
  const moved = batch.points.subarray(first, last);
  motion.movePoints(cloud.positions, indices, moved);
  takeRows(cloud.colors, indices, batch.colors.subarray(first, last));
  if (pointJitter > 0) jitterPoints(moved, pointJitter, random);
}

function checkRanges(values: Record<string, number>): void {
  for (const [name, value] of Object.entries(values))
    if (!(value >= 0 && value < Infinity))
      throw new DataError("batch", `${name} is ${value}, expected a finite amount`);
}

function checkCounts(values: Record<string, number>, least: Record<string, number>): void {
  for (const [name, value] of Object.entries(values)) {
    if (!Number.isSafeInteger(value) || value < least[name])
      throw new DataError("batch", `${name} is ${value}, expected an integer of at least ${least[name]}`);
  }
}

// A batch that memory cannot hold would end the process.
function checkSize(scenes: number, points: number): void {
  if (scenes > MAX_SCENES || scenes * points > MAX_BATCH_POINTS) {
    throw new DataError(
      "batch",
      `${scenes} scenes of ${points} points are too many, expected at most ${MAX_SCENES} scenes and ${MAX_BATCH_POINTS} points together`,
    );
  }
}
