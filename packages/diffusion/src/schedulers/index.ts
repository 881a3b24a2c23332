export { betas, type BetaSchedule, betaSchedules } from "./betas.js";
export { type DDIMConfig, DDIMScheduler, type DDIMStepOptions } from "./ddim.js";
export { type DDPMConfig, DDPMScheduler, type VarianceType, varianceTypes } from "./ddpm.js";
export {
  type NoiseSource,
  type PredictionType,
  predictionTypes,
  Scheduler,
  type SchedulerConfig,
  type StepResult,
} from "./scheduler.js";
export { type TimestepSpacing, timestepSpacings } from "./timesteps.js";
