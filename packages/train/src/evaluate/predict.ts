import type { ActionSample, Observation, Policy, SolverOptions } from "@md/diffusion";
import { ROTATION_BINS, type Vector3 } from "@md/rlbench-data";
import { Generator } from "@md/tensor";

/** One action, as an evaluation judges it. */
export interface Prediction {
  /** World frame, metres. */
  position: Vector3;
  /** 5° bins of the Euler angles. */
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
 * One answer of each scene's candidates: the median position an axis, the most frequent bin an axis (the lowest of
 * equals), and open where the candidates' mean probability is at least a half. Of a horizon over 1, the first action.
 */
export function aggregate(sample: ActionSample): Prediction[] {
  return Array.from({ length: sample.size }, (_, scene) => {
    const candidates = Array.from(
      { length: sample.candidates },
      (_, c) => (scene * sample.candidates + c) * sample.horizon,
    );
    const axis = <T>(choose: (k: number) => T): readonly [T, T, T] => [choose(0), choose(1), choose(2)];
    const open = candidates.reduce((sum, at) => sum + sample.open[at]!, 0) / candidates.length;
    return {
      position: axis((k) => median(candidates.map((at) => sample.position[3 * at + k]!))),
      rotationBins: axis((k) => mode(candidates.map((at) => sample.rotationBins[3 * at + k]!))),
      open: open >= 0.5 ? 1 : 0,
    };
  });
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
