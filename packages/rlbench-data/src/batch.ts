import { DataError } from "./errors.js";
import type { KeyPoseDataset, KeyPoseSample } from "./key-pose-dataset.js";
import { jitterPoints, SceneMotion } from "./pipeline/augment.js";
import { type Sampling, samplePointsNear } from "./pipeline/sampling.js";
import { pointCount, type PointCloud, RLBENCH_WORKSPACE_CENTER, samplePoints, takeRows } from "./point-cloud.js";
import { CounterRandom } from "./random.js";
import { quaternionToRotationBins, type Vector3 } from "./rotation.js";

/** B training states as flat, row-major arrays; P points in all scenes together. */
export interface StateBatch {
  /** B. */
  size: number;
  /** T, tokens of the longest instruction of the batch. */
  instructionTokens: number;
  /** D, components of an instruction token. */
  instructionDim: number;
  /** Metres, [P, 3]. */
  points: Float32Array;
  /** RGB in [0, 1], [P, 3]. */
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

/**
 * Training states with N points a scene: `points` and `colors` are [B, N, 3]. A scene of fewer than N points holds some
 * of them more than once.
 */
export interface KeyPoseBatch extends StateBatch {
  /** N. */
  pointsPerScene: number;
}

/** Training states whose scenes have as many points as they have: no padding, no point twice. */
export interface VariableBatch extends StateBatch {
  /** Scene b has the points from `offsets[b]` up to `offsets[b + 1]`, [B + 1]. */
  offsets: Int32Array;
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

/** First word of the streams of random numbers. */
export const PURPOSE = { order: 1, draw: 2, collate: 3, weightedOrder: 4 } as const;

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
  return assembleFixed(dataset, picks, options);
}

/** One state of a batch: which, and how it is drawn. */
export interface Pick {
  index: number;
  wording: number;
  turn: number;
  shift: Vector3;
  random: CounterRandom;
}

/** What decides the points of a scene, beside its {@link Pick}. */
export interface SceneOptions {
  points: number;
  sampling?: Sampling;
  pointJitter?: number;
  center?: Vector3;
}

/** The batch of these states with exactly `options.points` points a scene. */
export function assembleFixed(
  dataset: KeyPoseDataset,
  picks: readonly Pick[],
  options: SceneOptions,
  onScene?: OnScene,
): KeyPoseBatch {
  const offsets = Int32Array.from({ length: picks.length + 1 }, (_, b) => b * options.points);
  return { ...assemble(dataset, picks, offsets, options, onScene), pointsPerScene: options.points };
}

/** The batch of these states with at most `options.points` points a scene. */
export function assembleVariable(
  dataset: KeyPoseDataset,
  picks: readonly Pick[],
  options: SceneOptions,
  onScene?: OnScene,
): VariableBatch {
  const offsets = new Int32Array(picks.length + 1);
  picks.forEach(({ index }, b) => {
    offsets[b + 1] = offsets[b] + Math.min(options.points, pointCount(dataset.samples[index].cloud));
  });
  return { ...assemble(dataset, picks, offsets, options, onScene), offsets };
}

/** Called with the index of each state before its scene is drawn. */
export type OnScene = (index: number) => void;

function assemble(
  dataset: KeyPoseDataset,
  picks: readonly Pick[],
  offsets: Int32Array,
  options: SceneOptions,
  onScene?: OnScene,
): StateBatch {
  const { center = RLBENCH_WORKSPACE_CENTER } = options;
  const size = picks.length;
  const instructionDim = dataset.instructionDim;
  const chosen = picks.map(({ index, wording }) => dataset.samples[index].embeddings[wording]);
  const instructionTokens = Math.max(...chosen.map(({ tokens }) => tokens));
  const batch: StateBatch = {
    size,
    instructionTokens,
    instructionDim,
    points: new Float32Array(offsets[size] * 3),
    colors: new Float32Array(offsets[size] * 3),
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
    onScene?.(pick.index);
    const sample = dataset.samples[pick.index];
    const motion = new SceneMotion(pick.turn, pick.shift, center);
    const [first, last] = [3 * offsets[b], 3 * offsets[b + 1]];
    const scene = { positions: batch.points.subarray(first, last), colors: batch.colors.subarray(first, last) };
    drawPoints(scene, sample, pick.random, motion, options);
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

// Fills `scene` with as many points as it has room for.
function drawPoints(
  scene: PointCloud,
  { cloud, gripper, episode, frame }: KeyPoseSample,
  random: CounterRandom,
  motion: SceneMotion,
  { sampling = "uniform", pointJitter = 0 }: SceneOptions,
): void {
  const source = `${episode} frame ${frame}`;
  const count = pointCount(scene);
  const indices =
    sampling === "uniform"
      ? samplePoints(pointCount(cloud), count, random, source)
      : samplePointsNear(cloud, gripper.position, count, random, source);
  motion.movePoints(cloud.positions, indices, scene.positions);
  takeRows(cloud.colors, indices, scene.colors);
  if (pointJitter > 0) jitterPoints(scene.positions, pointJitter, random);
}

/** @throws DataError where a value is no finite amount of at least 0 */
export function checkRanges(values: Record<string, number>): void {
  for (const [name, value] of Object.entries(values))
    if (!(value >= 0 && value < Infinity))
      throw new DataError("batch", `${name} is ${value}, expected a finite amount`);
}

/** @throws DataError where a value is no integer, or under the least one of its name */
export function checkCounts(values: Record<string, number>, least: Record<string, number>): void {
  for (const [name, value] of Object.entries(values)) {
    if (!Number.isSafeInteger(value) || value < least[name])
      throw new DataError("batch", `${name} is ${value}, expected an integer of at least ${least[name]}`);
  }
}

/** @throws DataError for a batch that memory cannot hold, which would end the process */
export function checkSize(scenes: number, points: number): void {
  if (scenes > MAX_SCENES || scenes * points > MAX_BATCH_POINTS) {
    throw new DataError(
      "batch",
      `${scenes} scenes of ${points} points are too many, expected at most ${MAX_SCENES} scenes and ${MAX_BATCH_POINTS} points together`,
    );
  }
}
