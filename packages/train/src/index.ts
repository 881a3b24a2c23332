export { Checkpoint, checkpointFile, type RunMetadata, saveCheckpoint } from "./checkpoint/checkpoint.js";
export type { CheckpointMetadata, TrainedOn } from "./checkpoint/metadata.js";
export { type ConfigLayer, resolveConfig, resolveModel } from "./config/resolve.js";
export type { DataConfig, OptimizerConfig, TrainConfig, TrainingConfig } from "./config/schema.js";
export { parseOverride, readConfigFile, readPreset } from "./config/sources.js";
export { type Conversion, convertWeights, type ConvertOptions, formatConversion } from "./convert/convert.js";
export { type DataSource, listEpisodes, loadDataset, withInstructions } from "./data.js";
export { type Embedded, embedInstructions, type EmbedOptions, instructionsOf } from "./embed.js";
export * from "./errors.js";
export { DEMO_DENOISING_STEPS } from "./demo/answers.js";
export type { Check } from "./demo/checks.js";
export { DEMO_SCENES, type DemoOptions, type DemoResult, runDemo } from "./demo/demo.js";
export type { AmbiguousScenes, AnswerRow, Judgement } from "./demo/judge.js";
export { type Answer, constantAnswer, nearestNeighbourAnswer } from "./evaluate/baselines.js";
export { evaluate, evaluateAnswers, type EvaluateOptions, type KeyPoseResult } from "./evaluate/evaluate.js";
export {
  type Evaluation,
  evaluateCheckpoint,
  type EvaluationOptions,
  type EvaluationSource,
  formatEvaluation,
} from "./evaluate/evaluation.js";
export {
  compareSolvers,
  formatSolverComparison,
  type SolverComparison,
  type SolverComparisonOptions,
} from "./evaluate/solver-comparison.js";
export { aggregate, drawCandidates, type Prediction, type PredictOptions } from "./evaluate/predict.js";
export { formatTable, type Group, groupResults, percent } from "./evaluate/groups.js";
export { type Score, summarize, type Summary } from "./evaluate/score.js";
export { AdamW, type AdamWOptions } from "./optim/adamw.js";
export { clipFactor, clipFactorOf, clipGradNorm, gradNorm } from "./optim/clip-grad-norm.js";
export { Ema } from "./optim/ema.js";
export { GradScaler, type GradScalerOptions, type GradScalerState } from "./optim/grad-scaler.js";
export { cosineWithWarmup, type LearningRateSchedule } from "./optim/lr-schedule.js";
export { makeOutFolder } from "./out-folder.js";
export { presetNames } from "./presets.js";
export { formatSeconds, ProgressDisplay, type ProgressState, type ProgressStream } from "./progress.js";
export { charts, htmlPage, htmlTable, paragraph, type Section } from "./report/html.js";
export { type Frame, palette, Plot } from "./report/svg.js";
export { batchLoader, batchSource, dataStatistics } from "./run/batches.js";
export { createPolicy } from "./run/create-policy.js";
export { Run, type RunParts } from "./run/run.js";
export { type StepMetrics, Trainer, type TrainerOptions } from "./trainer.js";
