import { setImmediate } from "node:timers/promises";
import type { Policy } from "@md/diffusion";
import { collate, type ReachScene, rotationBinsToQuaternion, rotationErrorDegrees } from "@md/rlbench-data";
import { DEMO_DENOISING_STEPS, drawCandidates } from "@md/train";
import type { ReachDataset } from "./scenes.js";

/** Shares of drawn actions, from 0 to 1. */
export interface ActionShares {
  /** Within 1 cm of the target: the centre of a sphere of the named colour, either one where two have it. */
  within1cm: number;
  /** Within 3° of the demonstrated rotation. */
  within3deg: number;
  /** Both at once. */
  withinBoth: number;
}

/** Candidates a scene; each is an action that counts. */
export const CANDIDATES = 4;
const SCENES_AT_A_TIME = 8;

/** Draws actions for every scene. Yields to the event loop between batches. */
export async function judgeUnseenActions(
  policy: Policy,
  { dataset, scenes }: ReachDataset,
  { points, seed }: { points: number; seed: number },
): Promise<ActionShares> {
  const counts = { within1cm: 0, within3deg: 0, withinBoth: 0 };
  for (let first = 0; first < scenes.length; first += SCENES_AT_A_TIME) {
    const size = Math.min(SCENES_AT_A_TIME, scenes.length - first);
    const batch = collate(
      dataset,
      Array.from({ length: size }, (_, b) => first + b),
      { seed, points },
    );
    const drawn = drawCandidates(policy, batch, {
      samples: CANDIDATES,
      steps: DEMO_DENOISING_STEPS,
      seed: seed + first,
    });
    for (let action = 0; action < size * CANDIDATES; action++) {
      const b = Math.floor(action / CANDIDATES);
      const row = 3 * action * drawn.horizon;
      const at = action * drawn.horizon;
      const rotation =
        drawn.quaternion?.subarray(4 * at, 4 * at + 4) ??
        rotationBinsToQuaternion(drawn.rotationBins.subarray(row, row + 3));
      const turned = rotationErrorDegrees(rotation, batch.targetQuaternion.subarray(4 * b, 4 * b + 4));
      const near = metresToNamed(drawn.position.subarray(row, row + 3), scenes[first + b]) < 0.01;
      const aligned = turned < 3;
      counts.within1cm += Number(near);
      counts.within3deg += Number(aligned);
      counts.withinBoth += Number(near && aligned);
    }
    await setImmediate();
  }
  const total = scenes.length * CANDIDATES;
  return {
    within1cm: counts.within1cm / total,
    within3deg: counts.within3deg / total,
    withinBoth: counts.withinBoth / total,
  };
}

/** Metres to the centre of the nearest sphere that the instruction may mean. */
export function metresToNamed(position: ArrayLike<number>, { spheres, color }: ReachScene): number {
  const distances = spheres
    .filter((sphere) => sphere.color === color)
    .map(({ position: [x, y, z] }) => Math.hypot(position[0] - x, position[1] - y, position[2] - z));
  return Math.min(...distances);
}
