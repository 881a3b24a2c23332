import { createObjective, type NoiseProcess } from "@md/diffusion";

/**
 * What to tell a user whose noise schedule leaves more than a tenth of the signal at its last step, where sampling
 * starts from pure noise (Eq. 2 assumes none); null where there is nothing to tell.
 *
 * @param config configuration of a policy; one without `betaSchedule` and `numTrainTimesteps` says nothing
 */
export function remainingSignalWarning(config: Readonly<Record<string, unknown>>): string | null {
  const { betaSchedule, numTrainTimesteps, predictionType = "epsilon" } = config;
  if (betaSchedule === undefined || numTrainTimesteps === undefined) return null;
  const remaining = createObjective({
    betaSchedule,
    numTrainTimesteps,
    predictionType,
  } as NoiseProcess).remainingSignal;
  if (remaining <= 0.1) return null;
  return (
    `the ${String(betaSchedule)} schedule of ${String(numTrainTimesteps)} steps leaves ${Math.round(100 * remaining)}% of the ` +
    "signal at its last step, but sampling starts from none; use squaredcos_cap_v2 or more steps"
  );
}
