import { ValueError } from "@md/tensor";
import { linspace } from "./betas.js";

/** Which training timesteps a shorter sampling run visits (Lin et al., 2024, table 2). */
export const timestepSpacings = ["leading", "trailing", "linspace"] as const;
export type TimestepSpacing = (typeof timestepSpacings)[number];

/**
 * `count` of the timesteps 0 … numTrainTimesteps - 1, latest first, as diffusers chooses them.
 *
 * @param aboveFirst spaces count + 1 timesteps and leaves the first out, as DPM-Solver++ has it: its last step ends where
 *   timestep 0 would be. Of no effect on the trailing spacing.
 * @throws ValueError for a count out of 1 … numTrainTimesteps (one less where the first is left out), or when
 *   `stepsOffset` (leading only) goes beyond the last
 */
export function spacedTimesteps(
  spacing: TimestepSpacing,
  numTrainTimesteps: number,
  count: number,
  stepsOffset: number,
  aboveFirst = false,
): number[] {
  const left = aboveFirst && spacing !== "trailing" ? 1 : 0;
  checkStepCount(count, numTrainTimesteps - left);
  const timesteps = ascendingTimesteps(spacing, numTrainTimesteps, count + left, stepsOffset)
    .slice(left)
    .reverse();
  if (timesteps[0]! >= numTrainTimesteps) {
    throw new ValueError(
      `[setTimesteps] ${count} steps with stepsOffset ${stepsOffset} reach timestep ${timesteps[0]}, ` +
        `expected at most ${numTrainTimesteps - 1}`,
    );
  }
  return timesteps;
}

/** ValueError unless `count` is an integer from 1 to `most`. */
export function checkStepCount(count: number, most: number): void {
  if (!(Number.isInteger(count) && count >= 1 && count <= most)) {
    throw new ValueError(`[setTimesteps] found ${count} steps, expected an integer from 1 to ${most}`);
  }
}

function ascendingTimesteps(spacing: TimestepSpacing, total: number, count: number, stepsOffset: number): number[] {
  switch (spacing) {
    case "leading": {
      const stride = Math.floor(total / count);
      return Array.from({ length: count }, (_, i) => i * stride + stepsOffset);
    }
    case "trailing":
      return Array.from({ length: count }, (_, i) => roundHalfToEven(total - (count - 1 - i) * (total / count)) - 1);
    case "linspace":
      return Array.from(linspace(0, total - 1, count), roundHalfToEven);
  }
}

// As numpy and Python round.
function roundHalfToEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}
