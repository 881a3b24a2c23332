import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { SolverOptions } from "@md/diffusion";
import type { DeviceName } from "@md/tensor";
import type { EpisodeRef, KeyPoseDataset } from "@md/rlbench-data";
import { Checkpoint } from "../checkpoint/checkpoint.js";
import type { CheckpointMetadata } from "../checkpoint/metadata.js";
import { type DataSource, listEpisodes, loadDataset } from "../data.js";
import { CheckpointError } from "../errors.js";
import { type Answer, constantAnswer, nearestNeighbourAnswer } from "./baselines.js";
import { evaluate, evaluateAnswers, type EvaluateOptions, type KeyPoseResult } from "./evaluate.js";
import { formatTable, type Group, groupResults, summaryTable } from "./groups.js";
import { summarize } from "./score.js";

/** What is judged, and on what. */
export interface EvaluationSource {
  /** Run's folder, or checkpoint file. */
  checkpoint: string;
  /** Module file of the policy, where it is none of the registered ones; it is run. */
  model?: string;
  data: DataSource;
  /** The episodes of `data` have to be held out. Default false. */
  mustBeHeldOut?: boolean;
  /** Degrees by which every scene is turned about z. Default 0. */
  turn?: number;
  /** Candidates a scene. Default 16. */
  samples?: number;
  /** Default 0. */
  seed?: number;
  /** Where the policy acts; candidates are drawn from the same numbers everywhere. Default "cpu". */
  device?: DeviceName;
}

export interface EvaluationOptions extends EvaluationSource, SolverOptions {}

/** A checkpoint judged on demonstrations. */
export interface Evaluation {
  checkpoint: string;
  policy: string;
  /** Optimiser steps that the checkpoint has behind it. */
  step: number;
  turn: number;
  samples: number;
  seed: number;
  /** All key poses, then by task and key pose. */
  groups: Group[];
  /** On the episodes that were not trained on: the policy beside answers that look at no or one other scene. */
  heldOut: Group[] | null;
  keyPoses: KeyPoseResult[];
}

/**
 * Judges a checkpoint's averaged weights on demonstrations: what is judged is the median position an axis and the most
 * frequent bin an axis of the candidates.
 *
 * @throws CheckpointError when episodes that must be held out were trained on
 */
export async function evaluateCheckpoint(options: EvaluationOptions): Promise<Evaluation> {
  using checkpoint = new Checkpoint(options.checkpoint);
  const { metadata, file } = checkpoint;
  const { turn = 0, samples = 16, solver, steps, shift, seed = 0 } = options;
  const { dataset, heldOut } = await loadEvaluationData(checkpoint, options);
  const { points, sampling } = metadata.config.data;
  const settings: EvaluateOptions = { points, sampling, turn, samples, solver, steps, shift, seed };
  const policy = await checkpoint.loadPolicy({ model: options.model, device: options.device });
  const keyPoses = await evaluate(policy, dataset, settings).finally(() => policy.dispose());
  return {
    checkpoint: file,
    policy: metadata.policy.name,
    step: metadata.step,
    turn,
    samples,
    seed,
    groups: groupResults(keyPoses),
    heldOut: await compareHeldOut(keyPoses, dataset, heldOut, metadata, options.data.root, settings),
    keyPoses,
  };
}

/**
 * The key poses to judge a checkpoint on, and the ids of the episodes that it was not trained on.
 *
 * @throws CheckpointError when episodes that must be held out were trained on
 */
export async function loadEvaluationData(
  { metadata, file }: Checkpoint,
  { data, mustBeHeldOut = false }: Pick<EvaluationSource, "data" | "mustBeHeldOut">,
): Promise<{ dataset: KeyPoseDataset; heldOut: ReadonlySet<string> }> {
  const episodes = listEpisodes(data);
  const heldOut = heldOutIds(episodes, data.root, metadata);
  const seen = episodes.find(({ id }) => !heldOut.has(id));
  if (mustBeHeldOut && seen) throw new CheckpointError(file, `was trained on ${seen.id}, which is not held out`);
  const dataset = await loadDataset(episodes, metadata.config.data, { keyPosesOnly: true, onBad: data.onBad });
  return { dataset, heldOut };
}

// Ids of the episodes that the checkpoint was not trained on.
function heldOutIds(episodes: readonly EpisodeRef[], root: string, { trainedOn }: CheckpointMetadata): Set<string> {
  const otherFolder = trainedOn !== null && existsSync(trainedOn.root) && resolve(root) !== trainedOn.root;
  const trained = new Set(otherFolder ? [] : trainedOn?.episodes);
  return new Set(episodes.map(({ id }) => id).filter((id) => !trained.has(id)));
}

async function compareHeldOut(
  results: readonly KeyPoseResult[],
  dataset: KeyPoseDataset,
  heldOut: ReadonlySet<string>,
  { trainedOn, config }: CheckpointMetadata,
  root: string,
  settings: EvaluateOptions,
): Promise<Group[] | null> {
  if (heldOut.size === 0 || trainedOn === null) return null;
  const unseen = { ...dataset, samples: dataset.samples.filter(({ episode }) => heldOut.has(episode)) };
  const ofPolicy = results.filter(({ episode }) => heldOut.has(episode));
  const groups: Group[] = [{ name: "policy", summary: summarize(ofPolicy) }];
  const from = existsSync(trainedOn.root) ? trainedOn.root : root;
  const episodes = listEpisodes({ root: from, ids: new Set(trainedOn.episodes) });
  if (episodes.length === 0) return groups;
  const training = await loadDataset(episodes, config.data, { keyPosesOnly: true });
  const answers: [string, Answer][] = [
    ["constant answer", constantAnswer(training)],
    ["nearest neighbour", nearestNeighbourAnswer(training, unseen, settings.seed)],
  ];
  for (const [name, answer] of answers) {
    groups.push({ name, summary: summarize(await evaluateAnswers(unseen, settings, answer)) });
  }
  return groups;
}

/** An evaluation as text. */
export function formatEvaluation({ groups, heldOut, ...found }: Evaluation): string {
  const lines = [describeEvaluation(found), "", formatTable(summaryTable(groups))];
  if (heldOut) lines.push("", "Held-out episodes:", "", formatTable(summaryTable(heldOut)));
  return lines.join("\n");
}

/** What was judged, in a line. */
export function describeEvaluation({ step, samples, turn }: Pick<Evaluation, "step" | "samples" | "turn">): string {
  const turned = turn === 0 ? "" : `, scenes turned by ${turn}° about z`;
  return `After ${step} steps; median of ${samples} samples${turned}`;
}
