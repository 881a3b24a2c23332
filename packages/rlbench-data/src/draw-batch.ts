import {
  assembleFixed,
  assembleVariable,
  checkCounts,
  checkRanges,
  checkSize,
  type KeyPoseBatch,
  type OnScene,
  type Pick,
  PURPOSE,
  type SceneOptions,
  type VariableBatch,
} from "./batch.js";
import { EpochOrder, type TaskWeights } from "./epoch-order.js";
import type { KeyPoseDataset } from "./key-pose-dataset.js";
import type { Sampling } from "./pipeline/sampling.js";
import { CounterRandom } from "./random.js";
import type { Vector3 } from "./rotation.js";

/** How the batches of a run are drawn. */
export interface DrawRunOptions extends SceneOptions {
  /** Non-negative integer below 2^53. */
  seed: number;
  batchSize: number;
  /** Points a scene; of a variable batch, at most. */
  points: number;
  /** How often states of each task are drawn. Default: each state once an epoch. */
  taskWeights?: TaskWeights;
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

/** What {@link drawBatch} draws. */
export interface DrawOptions extends DrawRunOptions {
  /** Batch number from 0; the epoch follows from it. */
  step: number;
}

/**
 * Draws a training batch. Each epoch visits every state once, in an order of its own, or with `taskWeights` as often as
 * they say; points, instruction wording and augmentation are drawn anew. All of it is a function of (seed, epoch,
 * position in the epoch) alone, so a run that stops after any step can go on from there to the bit.
 *
 * Rotation and shift move cloud, gripper and target together.
 *
 * @throws DataError when a count, range, weight or the seed makes no sense, or the batch is too large
 */
export function drawBatch(dataset: KeyPoseDataset, { step, ...options }: DrawOptions): KeyPoseBatch {
  return new BatchDrawer(dataset, options).draw(step);
}

/**
 * {@link drawBatch} without padding: a scene of more than `points` points gives that many of them, any other all of its
 * own, and `offsets` says where each begins.
 */
export function drawVariableBatch(dataset: KeyPoseDataset, { step, ...options }: DrawOptions): VariableBatch {
  return new BatchDrawer(dataset, options).drawVariable(step);
}

/** Draws the batches of a run, in any order. */
export class BatchDrawer {
  private readonly order: EpochOrder;

  /**
   * @param onScene called with the index of each state before its scene is drawn
   * @throws DataError as {@link drawBatch}
   */
  constructor(
    private readonly dataset: KeyPoseDataset,
    private readonly options: DrawRunOptions,
    private readonly onScene?: OnScene,
  ) {
    const { seed, batchSize, points, rotationRange = 0, jitter = 0, pointJitter = 0, taskWeights } = options;
    checkCounts({ batchSize, points }, { batchSize: 1, points: 1 });
    checkSize(batchSize, points);
    checkRanges({ rotationRange, jitter, pointJitter });
    this.order = new EpochOrder(dataset.samples, seed, taskWeights);
  }

  draw(step: number): KeyPoseBatch {
    return assembleFixed(this.dataset, this.pick(step), this.options, this.onScene);
  }

  drawVariable(step: number): VariableBatch {
    return assembleVariable(this.dataset, this.pick(step), this.options, this.onScene);
  }

  private pick(step: number): Pick[] {
    checkCounts({ step }, { step: 0 });
    const { dataset, options, onScene } = this;
    const { seed, batchSize, rotationRange = 0, jitter = 0 } = options;
    return Array.from({ length: batchSize }, (_, b): Pick => {
      const { epoch, position, index } = this.order.at(step * batchSize + b);
      onScene?.(index);
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
  }
}
