/** The learning rate as a function of the steps done and the share of the budget used, 0 … 1. */
export type LearningRateSchedule = (step: number, progress: number) => number;

/**
 * Half a cosine from `peak` to `peak · finalFraction` over the budget, times a linear rise over the first steps:
 *
 *     lr = peak · min(1, (step + 1) / warmupSteps) · (f + (1 - f) · (1 + cos(π · progress)) / 2)
 *
 * `progress` and not the step drives the cosine, so a run that is limited by time anneals fully as well.
 *
 * @param options.warmupSteps 0: no rise
 * @param options.finalFraction f, from 0 to 1. Default 0.
 */
export function cosineWithWarmup(options: {
  peak: number;
  warmupSteps: number;
  finalFraction?: number;
}): LearningRateSchedule {
  const { peak, warmupSteps, finalFraction = 0 } = options;
  return (step, progress) => {
    const rise = warmupSteps === 0 ? 1 : Math.min(1, (step + 1) / warmupSteps);
    const cosine = (1 + Math.cos(Math.PI * Math.min(1, progress))) / 2;
    return peak * rise * (finalFraction + (1 - finalFraction) * cosine);
  };
}
