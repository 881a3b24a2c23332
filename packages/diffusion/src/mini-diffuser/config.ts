import {
  between,
  ConfigKeyError,
  type Field,
  type Fields,
  flag,
  integer,
  notNegative,
  oneOf,
  resolveConfig,
} from "../config.js";
import { type PositionBounds, positionBounds } from "../positions.js";
import { type BetaSchedule, betaSchedules } from "../schedulers/betas.js";
import { type ObjectiveName, objectives } from "../objective.js";
import { MAX_TRAIN_TIMESTEPS } from "../schedulers/scheduler.js";

/**
 * Which of the released code's slips are kept: none, those that checkpoints of it were trained with but for two
 * (unrotated keys, context dealt to the wrong item), or all.
 */
export type Compat = "none" | "fixed" | "released";
export const compats: readonly Compat[] = ["none", "fixed", "released"];

/** Sizes and settings of {@link MiniDiffuser}; plain JSON, stored in every checkpoint. Defaults are the released sizes. */
export interface MiniDiffuserConfig {
  /** Default "none": the paper's equations. */
  compat: Compat;
  /** Widths of the encoder's stages, fine to coarse. Default [36, 72, 144, 192, 384]. */
  encChannels: readonly number[];
  /** Default [2, 4, 8, 16, 32]. */
  encNumHeads: readonly number[];
  /** Blocks a stage. Default 1 each. */
  encDepths: readonly number[];
  /** One fewer than encoder stages. Default [72, 72, 144, 192]; the first is the width of action tokens. */
  decChannels: readonly number[];
  /** Default [4, 4, 8, 16]. */
  decNumHeads: readonly number[];
  /** Default 1 each. */
  decDepths: readonly number[];
  /** Points of an attention patch. Default 120. */
  patchSize: number;
  /** Width of context tokens and of what modulates the neck. Default 256. */
  contextDim: number;
  /** Probability with which a row's branches of the backbone are dropped in training. Default 0. */
  dropPath: number;
  /** Deals the space-filling curves anew at every level in training. Default false. */
  shuffleOrders: boolean;
  /** The backbone's blocks are computed again in the backward pass instead of keeping their activations. Default false. */
  checkpointBackbone: boolean;
  /** Edge of a grid cell in metres. Default 0.01. */
  voxelSize: number;
  /** Radians a metre of the rotary embedding's fastest channels; 0 for no rotary embedding. Default 1. */
  ropeScale: number;
  /** Whether noised positions read the features of the cells around them (A.1). Default true. */
  localQuery: boolean;
  /** A context token for the gripper's pose and opening. Default false. */
  useProprio: boolean;
  /** Steps of an episode that have an embedding, a context token; 0 for none. Default 0. */
  maxSteps: number;
  /** M, noised actions a scene in training (Eq. 7). Default 64. */
  samples: number;
  /** Standard deviation in metres of the position at which rotation and gripper are learned (A.3). Default 0.01. */
  poseJitter: number;
  /** K. Default 100. */
  numTrainTimesteps: number;
  /**
   * Default "auto": "squaredcos_cap_v2" for positions in [-1, 1], "scaled_linear" with `compat`, where they are in
   * metres. Resolved, it is never "auto".
   */
  betaSchedule: BetaSchedule | "auto";
  /** Default "epsilon" (Eq. 10). */
  predictionType: ObjectiveName;
  /** Of the denoising loss. Default "auto": "l2" (Eq. 10), "l1" with `compat`. Resolved, it is never "auto". */
  positionLoss: "l1" | "l2" | "auto";
  /** Weight of the denoising loss. Default 20. */
  positionWeight: number;
  /** Default 1. */
  rotationWeight: number;
  /** Default 1. */
  openWeight: number;
  /** Components of an instruction token; from the data. */
  instructionDim: number;
  /** What is mapped to [-1, 1] an axis without `compat`; from the data. */
  positionBounds: PositionBounds;
}

const sizes = (fallback: readonly number[]): Field<readonly number[]> => ({
  default: fallback,
  expected: "an array of integers from 1 to 65536",
  accepts: (value) =>
    Array.isArray(value) &&
    value.length > 0 &&
    value.length <= 16 &&
    value.every((size) => Number.isSafeInteger(size) && size >= 1 && size <= 65536),
});
const probability: Field<number> = {
  default: 0,
  expected: "a number of at least 0 and below 1",
  accepts: (value) => typeof value === "number" && value >= 0 && value < 1,
};

const dataFields: Fields<Pick<MiniDiffuserConfig, "instructionDim" | "positionBounds">> = {
  instructionDim: integer(512, 1),
  positionBounds,
};

const optionFields: Fields<Omit<MiniDiffuserConfig, keyof typeof dataFields>> = {
  compat: oneOf<Compat>("none", compats),
  encChannels: sizes([36, 72, 144, 192, 384]),
  encNumHeads: sizes([2, 4, 8, 16, 32]),
  encDepths: sizes([1, 1, 1, 1, 1]),
  decChannels: sizes([72, 72, 144, 192]),
  decNumHeads: sizes([4, 4, 8, 16]),
  decDepths: sizes([1, 1, 1, 1]),
  patchSize: integer(120, 1, 65536),
  contextDim: integer(256, 2, 65536),
  dropPath: probability,
  shuffleOrders: flag(false),
  checkpointBackbone: flag(false),
  voxelSize: between(0.01, 0, Infinity),
  ropeScale: notNegative(1),
  localQuery: flag(true),
  useProprio: flag(false),
  maxSteps: integer(0, 0, 2 ** 16),
  samples: integer(64, 1, 2 ** 16),
  poseJitter: notNegative(0.01),
  numTrainTimesteps: integer(100, 1, MAX_TRAIN_TIMESTEPS),
  betaSchedule: oneOf<BetaSchedule | "auto">("auto", ["auto", ...betaSchedules]),
  predictionType: oneOf("epsilon", objectives),
  positionLoss: oneOf<"l1" | "l2" | "auto">("auto", ["auto", "l1", "l2"]),
  positionWeight: notNegative(20),
  rotationWeight: notNegative(1),
  openWeight: notNegative(1),
};

/** Defaults of what a training configuration may set; the rest comes from the data. */
export const miniDiffuserDefaults = (): Record<string, unknown> =>
  Object.fromEntries(Object.entries(optionFields).map(([key, field]) => [key, field.default]));

/** A configuration without anything left to decide. */
export type ResolvedMiniDiffuserConfig = Readonly<
  MiniDiffuserConfig & { betaSchedule: BetaSchedule; positionLoss: "l1" | "l2" }
>;

/** `given` completed with defaults and frozen. ValueError for an unknown key, ConfigKeyError for an ill-valued one. */
export function resolveMiniDiffuserConfig(given: unknown): ResolvedMiniDiffuserConfig {
  const config = resolveConfig("MiniDiffuser", { ...optionFields, ...dataFields }, given);
  const stages = config.encChannels.length;
  const wrong = (key: string, problem: string): never => {
    throw new ConfigKeyError("MiniDiffuser", key, problem);
  };
  if (stages < 2) wrong("encChannels", `has ${stages} entry, expected 2 or more`);
  for (const [key, length] of Object.entries({
    encNumHeads: stages,
    encDepths: stages,
    decChannels: stages - 1,
    decNumHeads: stages - 1,
    decDepths: stages - 1,
  })) {
    const list = config[key as "encDepths"];
    if (list.length !== length) wrong(key, `has ${list.length} entries, expected ${length} for ${stages} stages`);
  }
  for (const [channels, heads] of [
    ["encChannels", "encNumHeads"],
    ["decChannels", "decNumHeads"],
  ] as const) {
    const at = config[channels].findIndex((width, i) => width % config[heads][i]! !== 0);
    if (at >= 0) wrong(heads, `has ${config[heads][at]} for ${config[channels][at]} channels, expected a divisor`);
  }
  const headDim = config.decChannels[0]! / config.decNumHeads[0]!;
  if (headDim < 6) wrong("decNumHeads", `leaves ${headDim} channels a head of action tokens, expected 6 or more`);
  if (config.contextDim % 2 !== 0) wrong("contextDim", `is ${config.contextDim}, expected an even number`);
  const { compat, betaSchedule, positionLoss } = config;
  return Object.freeze({
    ...config,
    betaSchedule: betaSchedule === "auto" ? (compat === "none" ? "squaredcos_cap_v2" : "scaled_linear") : betaSchedule,
    positionLoss: positionLoss === "auto" ? (compat === "none" ? "l2" : "l1") : positionLoss,
  });
}
