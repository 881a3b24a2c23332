import {
  collate,
  type KeyPoseBatch,
  type KeyPoseDataset,
  type KeyPoseSample,
  quaternionToRotationBins,
  type Vector3,
} from "@md/rlbench-data";
import { binned, exactly, median, type Prediction } from "./predict.js";

/** An answer to a scene of a batch. */
export type Answer = (batch: KeyPoseBatch, b: number) => Prediction;

/** The same answer to everything: the mean of the training targets, the median bin an axis, the commoner opening. */
export function constantAnswer(training: KeyPoseDataset): Answer {
  const targets = training.samples.map(({ target }) => target);
  const bins = targets.map(({ quaternion }) => quaternionToRotationBins(quaternion));
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const axes = (choose: (axis: number) => number): Vector3 => [choose(0), choose(1), choose(2)];
  const prediction: Prediction = {
    position: axes((axis) => mean(targets.map(({ position }) => position[axis]!))),
    ...binned(axes((axis) => Math.round(median(bins.map((triple) => triple[axis]!))))),
    open: mean(targets.map(({ open }) => open)) >= 0.5 ? 1 : 0,
  };
  return () => prediction;
}

const POINTS = 64;
const COLOR_WEIGHT = 0.2;

/**
 * The target of the training state that looks most alike. Alike is the mean distance from each of {@link POINTS} points
 * to the nearest of the other state's, both ways, where colour counts as 0.2 m from black to full; plus the distance of
 * the grippers, plus 0.2 m for another opening. States of the same instruction are preferred to all others.
 */
export function nearestNeighbourAnswer(training: KeyPoseDataset, evaluated: KeyPoseDataset, seed: number): Answer {
  const known = training.samples.map((sample, index) => ({
    sample,
    cloud: sparseCloud(collate(training, [index], { seed, points: POINTS }), 0),
  }));
  return (batch, b) => {
    const asked = evaluated.samples[batch.sampleIndices[b]!]!;
    const cloud = sparseCloud(batch, b);
    const gripper = batch.proprio.subarray(8 * b, 8 * b + 8);
    const same = known.filter(({ sample }) => instructionOf(sample) === instructionOf(asked));
    let nearest: KeyPoseSample | undefined;
    let least = Infinity;
    for (const candidate of same.length > 0 ? same : known) {
      const distance = chamfer(cloud, candidate.cloud) + gripperDistance(gripper, candidate.sample);
      if (distance < least) [nearest, least] = [candidate.sample, distance];
    }
    const { position, quaternion, open } = nearest!.target;
    return { position, ...exactly(quaternion), open };
  };
}

const instructionOf = (sample: KeyPoseSample): string => sample.instructions.texts[0]!;

/** Rows of x, y, z and weighted r, g, b: evenly chosen points of scene `b`. */
function sparseCloud({ points, colors, pointsPerScene }: KeyPoseBatch, b: number): Float32Array {
  const rows = new Float32Array(6 * POINTS);
  for (let i = 0; i < POINTS; i++) {
    const from = 3 * (b * pointsPerScene + Math.floor((i * pointsPerScene) / POINTS));
    for (let k = 0; k < 3; k++) {
      rows[6 * i + k] = points[from + k]!;
      rows[6 * i + 3 + k] = COLOR_WEIGHT * colors[from + k]!;
    }
  }
  return rows;
}

function chamfer(a: Float32Array, b: Float32Array): number {
  return (oneWay(a, b) + oneWay(b, a)) / 2;
}

function oneWay(from: Float32Array, to: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < from.length; i += 6) {
    let least = Infinity;
    for (let j = 0; j < to.length; j += 6) {
      let squared = 0;
      for (let k = 0; k < 6; k++) squared += (from[i + k]! - to[j + k]!) ** 2;
      if (squared < least) least = squared;
    }
    sum += Math.sqrt(least);
  }
  return sum / (from.length / 6);
}

function gripperDistance(gripper: Float32Array, { gripper: other }: KeyPoseSample): number {
  const [x, y, z] = other.position;
  const apart = Math.hypot(gripper[0]! - x, gripper[1]! - y, gripper[2]! - z);
  return apart + 0.2 * Math.abs(gripper[7]! - other.open);
}
