/** How the variance of each forward step is laid out. */
export const betaSchedules = ["linear", "scaled_linear", "squaredcos_cap_v2"] as const;
export type BetaSchedule = (typeof betaSchedules)[number];

const MAX_BETA = 0.999;

/**
 * Variances β of the forward steps, [numTrainTimesteps], in float64.
 *
 * `linear` (Ho et al., 2020), `scaled_linear` (linear in √β; Rombach et al., 2022) and `squaredcos_cap_v2` (cosine, at
 * most 0.999, without `betaStart` and `betaEnd`; Nichol and Dhariwal, 2021), as in diffusers.
 */
export function betas(
  schedule: BetaSchedule,
  numTrainTimesteps: number,
  betaStart: number,
  betaEnd: number,
): Float64Array {
  switch (schedule) {
    case "linear":
      return linspace(betaStart, betaEnd, numTrainTimesteps);
    case "scaled_linear":
      return linspace(Math.sqrt(betaStart), Math.sqrt(betaEnd), numTrainTimesteps).map((root) => root ** 2);
    case "squaredcos_cap_v2":
      return Float64Array.from({ length: numTrainTimesteps }, (_, t) =>
        Math.min(1 - cosineSignal((t + 1) / numTrainTimesteps) / cosineSignal(t / numTrainTimesteps), MAX_BETA),
      );
  }
}

// The share of the signal's variance that is left at time 0 … 1.
const cosineSignal = (time: number): number => Math.cos((((time + 0.008) / 1.008) * Math.PI) / 2) ** 2;

/** `count` evenly spaced numbers from `start` to `end`, both included; `start` alone for a count of 1. */
export function linspace(start: number, end: number, count: number): Float64Array {
  return Float64Array.from({ length: count }, (_, i) => (i === 0 ? start : start + ((end - start) * i) / (count - 1)));
}

/** ᾱ_t, the product of 1 - β up to and including step t. */
export function cumulativeAlphas(betas: Float64Array): Float64Array {
  let product = 1;
  return betas.map((beta) => (product *= 1 - beta));
}
