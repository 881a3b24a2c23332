export { betas, type BetaSchedule, betaSchedules } from "./betas.js";
export { type DDIMConfig, DDIMScheduler, type DDIMStepOptions } from "./ddim.js";
export { type DDPMConfig, DDPMScheduler, type VarianceType, varianceTypes } from "./ddpm.js";
export {
  type AlgorithmType,
  algorithmTypes,
  type DPMSolverMultistepConfig,
  DPMSolverMultistepScheduler,
  type FinalSigmasType,
  finalSigmasTypes,
  type SolverType,
  solverTypes,
} from "./dpm-solver.js";
export { type FlowMatchConfig, FlowMatchScheduler } from "./flow-match.js";
export { FlowMatchEulerDiscreteScheduler } from "./flow-match-euler.js";
export { FlowMatchHeunDiscreteScheduler } from "./flow-match-heun.js";
export { type PredictionType, predictionTypes, Scheduler, type SchedulerConfig } from "./scheduler.js";
export { type NoiseSource, type StepResult } from "./step.js";
export { type TimestepSpacing, timestepSpacings } from "./timesteps.js";
