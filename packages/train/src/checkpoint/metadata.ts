import type { DataStatistics } from "@md/diffusion";
import type { GeneratorState } from "@md/tensor";
import { jsonType } from "../config/fields.js";
import { isSection, resolveConfig } from "../config/resolve.js";
import type { TrainConfig } from "../config/schema.js";
import type { GradScalerState } from "../optim/grad-scaler.js";
import { CheckpointError, ConfigError } from "../errors.js";

/** Which demonstrations a run was trained on. */
export interface TrainedOn {
  /** Folder of demonstrations, resolved. */
  root: string;
  /** Ids of the episodes, such as `open_drawer/all_variations/episodes/episode0`. */
  episodes: readonly string[];
  /** Episodes that were held out, which may lie in another folder. */
  heldOut: { root: string; episodes: readonly string[] } | null;
}

/** What a checkpoint says beside its tensors; plain JSON. */
export interface CheckpointMetadata {
  format: typeof CHECKPOINT_FORMAT;
  /** Optimiser steps done. */
  step: number;
  /** Seconds of training done, which the schedule of a run limited by time follows. */
  elapsedSeconds: number;
  /** State of the generator of timesteps and noise. */
  generator: GeneratorState;
  /** State of the loss scaling; null unless the run's precision is f16. */
  scaler: GradScalerState | null;
  policy: { name: string; config: Readonly<Record<string, unknown>> };
  statistics: DataStatistics;
  config: TrainConfig;
  trainedOn: TrainedOn | null;
}

export const CHECKPOINT_FORMAT = 1;

/** Key of the metadata in the safetensors header. */
export const METADATA_KEY = "minidiff";

/** @throws CheckpointError when the header holds no metadata of this format */
export function parseMetadata(file: string, header: Readonly<Record<string, string>>): CheckpointMetadata {
  const json = header[METADATA_KEY];
  if (json === undefined) throw new CheckpointError(file, "is no checkpoint of minidiff: its metadata are missing");
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new CheckpointError(file, "has metadata that are no JSON", { cause: error });
  }
  const metadata = section(file, "metadata", value);
  if (metadata["format"] !== CHECKPOINT_FORMAT) {
    throw new CheckpointError(file, `has format ${describe(metadata["format"])}, expected ${CHECKPOINT_FORMAT}`);
  }
  count(file, "step", metadata["step"]);
  if (!(typeof metadata["elapsedSeconds"] === "number" && metadata["elapsedSeconds"] >= 0)) {
    throw new CheckpointError(file, "metadata.elapsedSeconds is no number of at least 0");
  }
  for (const key of ["generator", "statistics"]) section(file, key, metadata[key]);
  const policy = section(file, "policy", metadata["policy"]);
  if (typeof policy["name"] !== "string") throw new CheckpointError(file, "metadata.policy.name is no text");
  section(file, "policy.config", policy["config"]);
  checkTrainedOn(file, metadata["trainedOn"]);
  // Files from before there was another precision have neither field.
  const config = checkConfig(file, withPrecision(metadata["config"]));
  const scaler = metadata["scaler"] ?? null;
  if (config.training.precision === "f16") section(file, "scaler", scaler);
  return { ...(value as CheckpointMetadata), scaler: scaler as GradScalerState | null, config };
}

function withPrecision(config: unknown): unknown {
  if (!isSection(config) || !isSection(config["training"])) return config;
  return { ...config, training: { precision: "f32", ...config["training"] } };
}

// Checked like any configuration, but for the policy's options, which are checked where the policy is known.
function checkConfig(file: string, value: unknown): TrainConfig {
  const config = section(file, "config", value);
  const options = section(file, "config.policy", config["policy"]);
  try {
    const resolved = resolveConfig([{ source: file, values: config }], options);
    checkWhole(file, "config", resolved, config);
    for (const [name, values] of Object.entries(resolved)) {
      const field = `config.${name}`;
      if (isSection(values)) checkWhole(file, field, values, section(file, field, config[name]));
    }
    return resolved;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new CheckpointError(file, `metadata.config: ${error.message.replace(`[${file}] `, "")}`, { cause: error });
  }
}

/**
 * Checks that a saved section has every key of `whole`, lest a default stand in for one.
 *
 * @param field dotted path of the section in the metadata
 * @throws CheckpointError naming the key
 */
export function checkWhole(file: string, field: string, whole: object, saved: object): void {
  const missing = Object.keys(whole).find((key) => !Object.hasOwn(saved, key));
  if (missing !== undefined) throw new CheckpointError(file, `metadata.${field}.${missing} is missing`);
}

function checkTrainedOn(file: string, value: unknown): void {
  if (value === null) return;
  const trainedOn = checkEpisodes(file, "trainedOn", value);
  if (trainedOn["heldOut"] !== null) checkEpisodes(file, "trainedOn.heldOut", trainedOn["heldOut"]);
}

function checkEpisodes(file: string, field: string, value: unknown): Record<string, unknown> {
  const source = section(file, field, value);
  const { root, episodes } = source;
  if (typeof root !== "string") throw new CheckpointError(file, `metadata.${field}.root is no text`);
  if (!Array.isArray(episodes) || !episodes.every((id) => typeof id === "string")) {
    throw new CheckpointError(file, `metadata.${field}.episodes is no list of episodes`);
  }
  return source;
}

function section(file: string, field: string, value: unknown): Record<string, unknown> {
  if (!isSection(value)) throw new CheckpointError(file, `metadata.${field} is no section`);
  return value;
}

function count(file: string, field: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 0) {
    throw new CheckpointError(file, `metadata.${field} is ${describe(value)}, expected a count`);
  }
}

const describe = (value: unknown): string =>
  typeof value === "object" && value !== null ? jsonType(value) : String(value);
