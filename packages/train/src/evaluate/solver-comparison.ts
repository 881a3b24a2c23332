import type { Solver } from "@md/diffusion";
import { Checkpoint } from "../checkpoint/checkpoint.js";
import { ConfigError } from "../errors.js";
import { evaluate } from "./evaluate.js";
import { describeEvaluation, type EvaluationSource, loadEvaluationData } from "./evaluation.js";
import { formatTable, type Group, summaryTable } from "./groups.js";
import { summarize } from "./score.js";

export interface SolverComparisonOptions extends EvaluationSource {
  /** Default: all that fit what the policy was trained on. */
  solvers?: readonly Solver[];
  /** Numbers of denoising steps. */
  steps: readonly number[];
  /** Shift of the timesteps under flow. Default 1. */
  shift?: number;
}

/** Errors of a checkpoint against solver and number of denoising steps. */
export interface SolverComparison {
  checkpoint: string;
  policy: string;
  /** Optimiser steps that the checkpoint has behind it. */
  step: number;
  turn: number;
  samples: number;
  seed: number;
  /** One a solver and number of denoising steps, over all key poses. */
  rows: (Group & { solver: Solver; steps: number })[];
}

/**
 * Judges a checkpoint as `evaluateCheckpoint` does, with each solver at each number of denoising steps.
 *
 * @throws CheckpointError when episodes that must be held out were trained on; SolverError for a solver that does not
 *   fit; ConfigError where no solvers are given and the policy names none
 */
export async function compareSolvers(options: SolverComparisonOptions): Promise<SolverComparison> {
  using checkpoint = new Checkpoint(options.checkpoint);
  const { metadata, file } = checkpoint;
  const { turn = 0, samples = 16, seed = 0, shift } = options;
  const { dataset } = await loadEvaluationData(checkpoint, options);
  using policy = await checkpoint.loadPolicy({ model: options.model, device: options.device });
  const solvers = options.solvers ?? policy.solvers;
  if (!solvers) throw new ConfigError("--solver", "", `is "all", but ${metadata.policy.name} has no choice of solvers`);
  const { points, sampling } = metadata.config.data;
  const rows: SolverComparison["rows"] = [];
  for (const solver of solvers) {
    for (const steps of options.steps) {
      const settings = { points, sampling, turn, samples, seed, solver, steps, shift };
      const summary = summarize(await evaluate(policy, dataset, settings));
      rows.push({ name: `${solver}, ${steps} steps`, solver, steps, summary });
    }
  }
  return { checkpoint: file, policy: metadata.policy.name, step: metadata.step, turn, samples, seed, rows };
}

/** A comparison as text. */
export const formatSolverComparison = (comparison: SolverComparison): string =>
  [describeEvaluation(comparison), "", formatTable(summaryTable(comparison.rows))].join("\n");
