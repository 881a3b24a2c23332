import type { ActionSample, Observation, Policy, SolverOptions } from "@md/diffusion";
import {
  type Quaternion,
  quaternionToRotationBins,
  ROTATION_BINS,
  rotationBinsToQuaternion,
  rotationErrorDegrees,
  type Vector3,
} from "@md/rlbench-data";
import { Generator } from "@md/tensor";

/** One action, as an evaluation judges it. */
export interface Prediction {
  /** World frame, metres. */
  position: Vector3;
  /** xyzw; of a policy that classifies bins, their centre. */
  quaternion: Quaternion;
  /** 5° bins of its Euler angles. */
  rotationBins: Vector3;
  /** 1 open, 0 closed. */
  open: number;
}

/** How candidates are drawn. */
export interface PredictOptions extends SolverOptions {
  /** Candidates a scene. */
  samples: number;
  seed: number;
}

/** Draws candidates with a generator of its own, in evaluation mode. */
export function drawCandidates(policy: Policy, observation: Observation, options: PredictOptions): ActionSample {
  const wasTraining = policy.training;
  policy.eval();
  try {
    const { samples, solver, steps, shift, seed } = options;
    return policy.sample(observation, { candidates: samples, solver, steps, shift, generator: new Generator(seed) });
  } finally {
    policy.train(wasTraining);
  }
}

/**
 * One answer of each scene's candidates: the median position an axis; the most frequent bin an axis (the lowest of
 * equals), or of a policy that gives rotations exactly the candidate whose angles to all others add up to the least (the
 * first of equals); and open where the candidates' mean probability is at least a half. Of a horizon over 1, the first
 * action.
 */
export function aggregate(sample: ActionSample): Prediction[] {
  return Array.from({ length: sample.size }, (_, scene) => {
    const candidates = Array.from(
      { length: sample.candidates },
      (_, c) => (scene * sample.candidates + c) * sample.horizon,
    );
    const axis = <T>(choose: (k: number) => T): readonly [T, T, T] => [choose(0), choose(1), choose(2)];
    const open = candidates.reduce((sum, at) => sum + sample.open[at]!, 0) / candidates.length;
    const rotation = sample.quaternion
      ? exactly(middleRotation(candidates.map((at) => quaternionAt(sample.quaternion!, at))))
      : binned(axis((k) => mode(candidates.map((at) => sample.rotationBins[3 * at + k]!))));
    return {
      position: axis((k) => median(candidates.map((at) => sample.position[3 * at + k]!))),
      ...rotation,
      open: open >= 0.5 ? 1 : 0,
    };
  });
}

/** A rotation as a prediction has it, given exactly or by its bins. */
export const exactly = (quaternion: Quaternion): Pick<Prediction, "quaternion" | "rotationBins"> => ({
  quaternion,
  rotationBins: quaternionToRotationBins(quaternion),
});
export const binned = (rotationBins: Vector3): Pick<Prediction, "quaternion" | "rotationBins"> => ({
  quaternion: rotationBinsToQuaternion(rotationBins),
  rotationBins,
});

/** Number `at` of [n, 4]. */
export const quaternionAt = (quaternions: Float32Array, at: number): Quaternion =>
  Array.from(quaternions.subarray(4 * at, 4 * at + 4)) as unknown as Quaternion;

// As the median does for numbers, it stays in the larger of two clusters.
function middleRotation(rotations: readonly Quaternion[]): Quaternion {
  const sums = rotations.map((a) => rotations.reduce((sum, b) => sum + rotationErrorDegrees(a, b), 0));
  return rotations[sums.indexOf(Math.min(...sums))]!;
}

/** Middle of the sorted values; the mean of the two middle ones for an even count. NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return Number.isInteger(middle) ? (sorted[middle - 1]! + sorted[middle]!) / 2 : sorted[Math.floor(middle)]!;
}

function mode(bins: readonly number[]): number {
  const counts = new Int32Array(ROTATION_BINS);
  for (const bin of bins) counts[bin]!++;
  return counts.indexOf(Math.max(...counts));
}
