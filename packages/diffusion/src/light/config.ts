import {
  between,
  checkWidths,
  ConfigKeyError,
  type Field,
  type Fields,
  integer,
  notNegative,
  oneOf,
  resolveConfig,
} from "../config.js";
import { type PositionBounds, positionBounds } from "../positions.js";
import { type BetaSchedule, betaSchedules } from "../schedulers/betas.js";
import { type ObjectiveName, objectives } from "../objective.js";
import { MAX_TRAIN_TIMESTEPS } from "../schedulers/scheduler.js";

/** Sizes and settings of {@link MiniDiffuserLight}; plain JSON, stored in every checkpoint. */
export interface MiniDiffuserLightConfig {
  /** d, channels of every token. Default 72. */
  embedDim: number;
  /** embedDim / numHeads is at least 6, for the rotary embedding. Default 3. */
  numHeads: number;
  /** Default 3. */
  numLayers: number;
  /** Hidden channels of the feed-forward part, as a multiple of embedDim. Default 4. */
  mlpRatio: number;
  /** L, action tokens a sample. Default 1. */
  horizon: number;
  /** M, noised actions a scene in training (Eq. 7). Default 64. */
  samples: number;
  /** Jittered true positions a scene, at which rotation and gripper are learned. Default 4. */
  poseQueries: number;
  /** Standard deviation of that jitter in metres (A.3). Default 0.01. */
  poseJitter: number;
  /** Edge of a grid cell in metres. Default 0.01. */
  gridSize: number;
  /** Edge of the local query's voxels in grid cells: one for all layers, or one a layer. Default [16] (A.1: 2⁴). */
  binCells: readonly number[];
  /** Octaves of the sine features of a position. Default 6. */
  positionFrequencies: number;
  /** Radians a metre of the rotary embedding's fastest channels. Default 10. */
  ropeScale: number;
  /** K. Default 100. */
  numTrainTimesteps: number;
  /** Default "squaredcos_cap_v2", which leaves no signal at step K. Of no effect under flow. */
  betaSchedule: BetaSchedule;
  /** Default "epsilon" (Eq. 10). */
  predictionType: ObjectiveName;
  /** Weight of the rotation loss; that of the denoising loss is 1. Default 0.1. */
  rotationWeight: number;
  /** Weight of the gripper loss. Default 0.1. */
  openWeight: number;
  /** Components of an instruction token; from the data. */
  instructionDim: number;
  /** What is mapped to [-1, 1] an axis; from the data. */
  positionBounds: PositionBounds;
}

const cells: Field<readonly number[]> = {
  default: [16],
  expected: "an array of finite numbers above 0",
  accepts: (value) =>
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((size: unknown) => Number.isFinite(size) && (size as number) > 0),
};

/** What comes from the data. */
const dataFields: Fields<Pick<MiniDiffuserLightConfig, "instructionDim" | "positionBounds">> = {
  instructionDim: integer(128, 1),
  positionBounds,
};

/** What a training configuration may set. */
const optionFields: Fields<Omit<MiniDiffuserLightConfig, keyof typeof dataFields>> = {
  embedDim: integer(72, 6),
  numHeads: integer(3, 1),
  numLayers: integer(3, 1, 1000),
  mlpRatio: between(4, 0, Infinity),
  horizon: integer(1, 1),
  samples: integer(64, 1, 2 ** 16),
  poseQueries: integer(4, 1, 2 ** 16),
  poseJitter: notNegative(0.01),
  gridSize: between(0.01, 0, Infinity),
  binCells: cells,
  positionFrequencies: integer(6, 0, 32),
  ropeScale: between(10, 0, Infinity),
  numTrainTimesteps: integer(100, 1, MAX_TRAIN_TIMESTEPS),
  betaSchedule: oneOf("squaredcos_cap_v2", betaSchedules),
  predictionType: oneOf("epsilon", objectives),
  rotationWeight: notNegative(0.1),
  openWeight: notNegative(0.1),
};

/** Defaults of what a training configuration may set; the rest comes from the data. */
export const lightDefaults = (): Record<string, unknown> =>
  Object.fromEntries(Object.entries(optionFields).map(([key, field]) => [key, field.default]));

/** `given` completed with defaults and frozen. ValueError for an unknown key, ConfigKeyError for an ill-valued one. */
export function resolveLightConfig(given: unknown): Readonly<MiniDiffuserLightConfig> {
  const config = resolveConfig("MiniDiffuserLight", { ...optionFields, ...dataFields }, given);
  checkWidths("MiniDiffuserLight", config);
  const { numLayers, binCells } = config;
  if (binCells.length !== 1 && binCells.length !== numLayers) {
    const expected = `1 or ${numLayers}, one a layer`;
    throw new ConfigKeyError("MiniDiffuserLight", "binCells", `has ${binCells.length} sizes, expected ${expected}`);
  }
  return config;
}
