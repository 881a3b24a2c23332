import type { Generator, Tensor } from "@md/tensor";
import type { Module } from "@md/nn";
import type { PositionBounds } from "./positions.js";
import type { Solver, SolverOptions } from "./sampler.js";

/** B training states as flat row-major arrays; what `drawBatch` of `@md/rlbench-data` returns fits. */
export interface PolicyBatch {
  /** B. */
  readonly size: number;
  /** N. */
  readonly pointsPerScene: number;
  /** T, tokens of the longest instruction. */
  readonly instructionTokens: number;
  /** D. */
  readonly instructionDim: number;
  /** World frame, metres, [B, N, 3]. */
  readonly points: Float32Array;
  /** RGB in [0, 1], [B, N, 3]. */
  readonly colors: Float32Array;
  /** [B, T, D]; tokens beyond an item's length are ignored. */
  readonly instruction: Float32Array;
  /** [B]. */
  readonly instructionLengths: Int32Array;
  /** Gripper position in metres, quaternion xyzw and opening (1 open), [B, 8]. */
  readonly proprio: Float32Array;
  /** Which of an episode's key poses comes next, from 0, [B]; for policies that ask for it. */
  readonly stepIds?: Int32Array;
  /** World frame, metres, [B, L, 3]. */
  readonly targetPosition: Float32Array;
  /** 5° bins of the Euler angles, 0 … 71, [B, L, 3]. */
  readonly targetRotationBins: Int32Array;
  /** The same rotations exactly, xyzw, [B, L, 4]; policies that do not classify bins prefer it to their centres. */
  readonly targetQuaternion?: Float32Array;
  /** 1 open, 0 closed, [B, L]. */
  readonly targetOpen: Float32Array;
}

/** Scenes to act in: a {@link PolicyBatch} without targets. */
export type Observation = Omit<
  PolicyBatch,
  "targetPosition" | "targetRotationBins" | "targetQuaternion" | "targetOpen"
>;

export interface SampleOptions extends SolverOptions {
  /** C, actions drawn a scene. Default 1. */
  candidates?: number;
  generator: Generator;
  /** Also return every candidate's position after each evaluation of the network. Default false. */
  returnTrajectory?: boolean;
}

/** Drawn actions, flat row-major. L is the horizon. */
export interface ActionSample {
  /** B. */
  size: number;
  candidates: number;
  horizon: number;
  /** World frame, metres, [B, C, L, 3]. */
  position: Float32Array;
  /** Most likely 5° Euler bins, [B, C, L, 3]. */
  rotationBins: Int32Array;
  /** The rotations exactly, unit quaternions xyzw, [B, C, L, 4], of a policy that does not classify bins. */
  quaternion?: Float32Array;
  /** Probability that the gripper is open, [B, C, L]. */
  open: Float32Array;
  /**
   * Position before the first and after every evaluation of the network, world frame, metres, [n + 1, B, C, L, 3]. n is
   * the number of steps; "heun" evaluates twice a step but in the last.
   */
  trajectory?: Float32Array;
}

/** What the data has to say to a policy before training. */
export interface DataStatistics {
  /** Box of the target positions, augmentation included, metres. */
  positionBounds: PositionBounds;
  instructionDim: number;
}

/**
 * A policy that the trainer and every command can take. Its parameters and buffers are its state; `config` is plain
 * JSON that rebuilds it.
 */
export interface Policy extends Module {
  readonly config: Readonly<Record<string, unknown>>;
  /**
   * Mean loss over the batch's B·M samples, and its named parts as scalars. A run asks for it once in evaluation mode
   * before it starts, to see that the batch fits.
   */
  loss(batch: PolicyBatch, generator: Generator): { loss: Tensor; parts: Record<string, Tensor> };
  /** Solvers that fit what it was trained on, the default first; absent where there is no choice. */
  readonly solvers?: readonly Solver[];
  /** Draws actions; runs without gradients. */
  sample(observation: Observation, options: SampleOptions): ActionSample;
  /** Floating-point operations of one training step on such a batch, forward and backward. */
  stepFlops(batch: Pick<PolicyBatch, "size" | "pointsPerScene" | "instructionTokens">): number;
}

/** How a policy is made: from a checkpoint's `config`, or from user options and data statistics. */
export interface PolicyFactory {
  readonly name: string;
  /** Options that a training configuration may set under `policy`, with their defaults. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** ConfigKeyError for an option that has an unusable value. */
  create(options: Readonly<Record<string, unknown>>, statistics: DataStatistics, generator: Generator): Policy;
  /** A fresh policy from a checkpoint's `config`, to load a state dict into. */
  fromConfig(config: Readonly<Record<string, unknown>>, generator: Generator): Policy;
}
