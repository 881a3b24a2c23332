import type { RobotRemoval, Sampling, TaskWeights } from "@md/rlbench-data";
import {
  type AnySchema,
  above,
  flag,
  integer,
  like,
  names,
  oneOf,
  optional,
  type Schema,
  text,
  weights,
  within,
} from "./fields.js";

/** Everything that decides a training run, beside the demonstrations themselves. */
export type TrainConfig = {
  /** Seed of initialisation, data order, augmentation and noise. */
  seed: number;
  /** Name of a registered policy, or a module file that exports one. */
  model: string;
  /** Options of the policy. */
  policy: Readonly<Record<string, unknown>>;
  data: DataConfig;
  optimizer: OptimizerConfig;
  training: TrainingConfig;
};

/** How demonstrations become training states. */
export type DataConfig = {
  /** Points a scene. */
  points: number;
  /** Edge of the down-sampling voxels, metres. */
  voxelSize: number;
  /** Points up to this height are dropped, metres; null keeps the table. */
  tableHeight: number | null;
  /** What of the robot is dropped from the cloud. */
  removeRobot: RobotRemoval;
  /** How the points of a scene are drawn. */
  sampling: Sampling;
  /** Take frames between key poses too. */
  everyFrame: boolean;
  /** With `everyFrame`, every how many frames. */
  stride: number;
  /** Scenes are turned about z by up to this many degrees either way. */
  rotationRange: number;
  /** Scenes are shifted by up to this many metres either way an axis. */
  jitter: number;
  /** Each point is moved by up to this many metres either way an axis. */
  pointJitter: number;
  /** Names of the cameras; null: those of RLBench that the episode has. */
  cameras: readonly string[] | null;
  /** Components of a hashed word. */
  instructionDim: number;
  /** `.npy` or safetensors file of instruction embeddings, instead of hashed words. */
  instructionFile: string | null;
  /** How often states of each task are drawn, 1 for tasks that are not named; null: each state once an epoch. */
  taskWeights: TaskWeights | null;
  /** Threads that draw batches ahead; 0: drawn when a step needs them. The batches are the same. */
  workers: number;
};

/** AdamW and its learning rate. */
export type OptimizerConfig = {
  learningRate: number;
  weightDecay: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Steps over which the learning rate rises from 0. */
  warmupSteps: number;
  /** Learning rate at the end as a share of the peak. */
  finalFraction: number;
  /** Largest Euclidean norm of all gradients together; null: not clipped. */
  clipGradNorm: number | null;
  /** Decay of the averaged weights a step, 0 for no averaging. */
  emaDecay: number;
};

export type Precision = "f32" | "bf16" | "f16";

/** How long, and what is written on the way. */
export type TrainingConfig = {
  /** Scenes a forward and backward. */
  batchSize: number;
  /** Batches whose gradients are averaged for one optimiser step. */
  accumulate: number;
  /** Of matrix products, convolutions and attention; weights and their gradients stay f32. f16 scales the loss. */
  precision: Precision;
  /** Optimiser steps; null: as many as `maxMinutes` allows. */
  steps: number | null;
  /** Minutes of training, whichever comes first; null: no limit. */
  maxMinutes: number | null;
  /** Steps between two lines of metrics. */
  logEvery: number;
  /** Steps between two checkpoints. */
  checkpointEvery: number;
  /** Steps between two evaluations on held-out episodes, where there are any. */
  validateEvery: number;
};

const sections = {
  data: {
    points: integer(1024, 1, 2 ** 20),
    voxelSize: above(0.01, 0),
    tableHeight: { ...optional(within(0.755, -100, 100)), default: 0.755 },
    removeRobot: oneOf<RobotRemoval>("nothing", "arm", "arm and gripper"),
    sampling: oneOf<Sampling>("uniform", "near gripper"),
    everyFrame: flag(false),
    stride: integer(1, 1),
    rotationRange: within(0, 0, 180),
    jitter: within(0, 0, 1),
    pointJitter: within(0, 0, 1),
    cameras: optional(names),
    instructionDim: integer(128, 1, 2 ** 16),
    instructionFile: optional(text("")),
    taskWeights: optional(weights),
    workers: integer(1, 0, 64),
  },
  optimizer: {
    learningRate: above(1e-3, 0),
    weightDecay: within(0.01, 0, Infinity),
    beta1: within(0.9, 0, 0.999999),
    beta2: within(0.98, 0, 0.999999),
    epsilon: above(1e-8, 0),
    warmupSteps: integer(100, 0),
    finalFraction: within(0.01, 0, 1),
    clipGradNorm: { ...optional(above(1, 0)), default: 1 },
    emaDecay: within(0.995, 0, 0.999999),
  },
  training: {
    batchSize: integer(8, 1, 2 ** 16),
    accumulate: integer(1, 1, 2 ** 12),
    precision: oneOf<Precision>("f32", "bf16", "f16"),
    steps: optional(integer(1, 1)),
    maxMinutes: optional(above(1, 0)),
    logEvery: integer(10, 1),
    checkpointEvery: integer(200, 1),
    validateEvery: integer(500, 1),
  },
} satisfies Schema<Pick<TrainConfig, "data" | "optimizer" | "training">>;

/** The schema of a configuration whose policy has these options. */
export function trainSchema(policyDefaults: Readonly<Record<string, unknown>>): AnySchema {
  const policy = Object.fromEntries(Object.entries(policyDefaults).map(([key, value]) => [key, like(value)]));
  return { seed: integer(0, 0), model: text("mini-diffuser-light"), policy, ...sections };
}
