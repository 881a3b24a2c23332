import { between, checkWidths, type Fields, integer, notNegative, oneOf, resolveConfig } from "../config.js";
import { type PositionBounds, positionBounds } from "../positions.js";
import { type BetaSchedule, betaSchedules } from "../schedulers/betas.js";
import { type ObjectiveName, objectives } from "../objective.js";
import { MAX_TRAIN_TIMESTEPS } from "../schedulers/scheduler.js";

/**
 * Sizes and settings of {@link DiffuserActor}; plain JSON, stored in every checkpoint. "3DDA" marks the numbers of 3D
 * Diffuser Actor's released code for RLBench (Ke et al., 2024).
 */
export interface DiffuserActorConfig {
  /** d, channels of every token. Default 120 (3DDA). */
  embedDim: number;
  /** embedDim / numHeads is at least 6, for the rotary embedding. Default 8 (3DDA). */
  numHeads: number;
  /** Layers in which actions read scene tokens that do not read each other yet. Default 2 (3DDA). */
  crossLayers: number;
  /** Layers after them, in which scene, gripper and instruction tokens read each other too. Default 4 (3DDA). */
  selfLayers: number;
  /** Further such layers for the position, and as many for the rotation. Default 2 (3DDA). */
  headLayers: number;
  /** Hidden channels of the feed-forward part, as a multiple of embedDim. Default 1 (3DDA). */
  mlpRatio: number;
  /** L, action tokens a sample. Default 1. */
  horizon: number;
  /** M, noised actions a scene in training (Eq. 7). Default 64. */
  samples: number;
  /** Edge of the local query's voxels in metres; 0 for no local query. Default 0.16 (A.1: 2⁴ cells of 1 cm). */
  localVoxelSize: number;
  /** Octaves of the sine features of a position. Default 6. */
  positionFrequencies: number;
  /** Radians a metre of the rotary embedding's fastest channels; 0 for no rotary embedding. Default 10. */
  ropeScale: number;
  /** K. Default 100 (3DDA). */
  numTrainTimesteps: number;
  /**
   * Of position and rotation. Default "squaredcos_cap_v2", which leaves no signal at step K: 3DDA's schedule of
   * rotations. Its "scaled_linear" of positions leaves 70%, which breaks Eq. 2. Of no effect under flow.
   */
  betaSchedule: BetaSchedule;
  /** Default "epsilon" (Eq. 10, 3DDA). */
  predictionType: ObjectiveName;
  /** Of what is predicted. Default "l2" (Eq. 10); 3DDA's is "l1". */
  denoisingLoss: "l1" | "l2";
  /** Weight of the position's denoising loss. Default 30 (3DDA). */
  positionWeight: number;
  /** Weight of the rotation's denoising loss. Default 10 (3DDA). */
  rotationWeight: number;
  /** Weight of the gripper loss. Default 1 (3DDA). */
  openWeight: number;
  /** Components of an instruction token; from the data. */
  instructionDim: number;
  /** What is mapped to [-1, 1] an axis; from the data. */
  positionBounds: PositionBounds;
}

/** What comes from the data. */
const dataFields: Fields<Pick<DiffuserActorConfig, "instructionDim" | "positionBounds">> = {
  instructionDim: integer(128, 1),
  positionBounds,
};

/** What a training configuration may set. */
const optionFields: Fields<Omit<DiffuserActorConfig, keyof typeof dataFields>> = {
  embedDim: integer(120, 6),
  numHeads: integer(8, 1),
  crossLayers: integer(2, 0, 1000),
  selfLayers: integer(4, 0, 1000),
  headLayers: integer(2, 1, 1000),
  mlpRatio: between(1, 0, Infinity),
  horizon: integer(1, 1),
  samples: integer(64, 1, 2 ** 16),
  localVoxelSize: notNegative(0.16),
  positionFrequencies: integer(6, 0, 32),
  ropeScale: notNegative(10),
  numTrainTimesteps: integer(100, 1, MAX_TRAIN_TIMESTEPS),
  betaSchedule: oneOf("squaredcos_cap_v2", betaSchedules),
  predictionType: oneOf("epsilon", objectives),
  denoisingLoss: oneOf<"l1" | "l2">("l2", ["l1", "l2"]),
  positionWeight: notNegative(30),
  rotationWeight: notNegative(10),
  openWeight: notNegative(1),
};

/** Defaults of what a training configuration may set; the rest comes from the data. */
export const diffuserActorDefaults = (): Record<string, unknown> =>
  Object.fromEntries(Object.entries(optionFields).map(([key, field]) => [key, field.default]));

/** `given` completed with defaults and frozen. ValueError for an unknown key, ConfigKeyError for an ill-valued one. */
export function resolveDiffuserActorConfig(given: unknown): Readonly<DiffuserActorConfig> {
  const config = resolveConfig("DiffuserActor", { ...optionFields, ...dataFields }, given);
  checkWidths("DiffuserActor", config);
  return config;
}
