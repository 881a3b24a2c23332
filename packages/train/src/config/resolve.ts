import type { DeviceName } from "@md/tensor";
import { closest } from "fastest-levenshtein";
import { ConfigError } from "../errors.js";
import { type AnySchema, device, isField, jsonType } from "./fields.js";
import { type TrainConfig, trainSchema } from "./schema.js";

/** Values from one place; a later layer wins over an earlier one, key by key. */
export interface ConfigLayer {
  /** Where the values come from, for error messages. */
  source: string;
  values: unknown;
}

/** The policy that the layers ask for, before the rest can be checked. */
export function resolveModel(layers: readonly ConfigLayer[]): string {
  const sections = trainSchema({});
  const model = resolve(
    { model: sections["model"]! },
    layers.map(({ source, values }) => ({
      source,
      values: isSection(values) && Object.hasOwn(values, "model") ? { model: values["model"] } : {},
    })),
  );
  return model["model"] as string;
}

/**
 * Defaults overlaid with every layer in turn.
 *
 * @param policyDefaults options of the policy with their defaults
 * @throws ConfigError naming source and key, for an unknown key (with the nearest known one) or a value of another type
 *   or out of range
 */
export function resolveConfig(
  layers: readonly ConfigLayer[],
  policyDefaults: Readonly<Record<string, unknown>>,
): TrainConfig {
  return resolve(trainSchema(policyDefaults), layers) as TrainConfig;
}

/**
 * As {@link resolveConfig}, of layers that may say `device` too: where a run computes, which is no part of what it is and
 * so of no checkpoint. Default "cpu".
 */
export function resolveRun(
  layers: readonly ConfigLayer[],
  policyDefaults: Readonly<Record<string, unknown>>,
): { config: TrainConfig; device: DeviceName } {
  const { device: where, ...config } = resolve({ device, ...trainSchema(policyDefaults) }, layers);
  return { config: config as TrainConfig, device: where as DeviceName };
}

function resolve(schema: AnySchema, layers: readonly ConfigLayer[]): Record<string, unknown> {
  const config = defaultsOf(schema);
  for (const { source, values } of layers) overlay(config, schema, values ?? {}, source, "");
  return config;
}

function defaultsOf(schema: AnySchema): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(schema).map(([key, entry]) => [key, isField(entry) ? entry.default : defaultsOf(entry)]),
  );
}

function overlay(
  config: Record<string, unknown>,
  schema: AnySchema,
  values: unknown,
  source: string,
  path: string,
): void {
  if (!isSection(values)) throw new ConfigError(source, path, `is ${describe(values)}, expected a section`);
  for (const [key, value] of Object.entries(values)) {
    const field = path === "" ? key : `${path}.${key}`;
    if (!Object.hasOwn(schema, key)) throw new ConfigError(source, field, `is unknown${suggestion(key, path, schema)}`);
    const entry = schema[key]!;
    if (!isField(entry)) {
      overlay(config[key] as Record<string, unknown>, entry, value, source, field);
    } else if (entry.accepts(value)) {
      config[key] = value;
    } else {
      throw new ConfigError(source, field, `is ${describe(value)}, expected ${entry.expected}`);
    }
  }
}

function suggestion(key: string, path: string, schema: AnySchema): string {
  const known = Object.keys(schema);
  if (known.length === 0) return "";
  const nearest = closest(key, known);
  return `; did you mean ${path === "" ? nearest : `${path}.${nearest}`}?`;
}

function describe(value: unknown): string {
  if (value === null || typeof value === "object") return jsonType(value);
  return `${JSON.stringify(value) ?? String(value)} (${jsonType(value)})`;
}

/** Whether a value is a section: an object that is no list. */
export function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
