import { statSync } from "node:fs";
import {
  compareStateDicts,
  describeDifference,
  getNameMap,
  type HostTensor,
  type NameMap,
  nameMapNames,
  readSafetensorsArrays,
  widenHalves,
  readTorchCheckpointArrays,
  writeSafetensors,
  writeTorchCheckpoint,
} from "@md/nn";
import { scope, tensor } from "@md/tensor";
import { checkpointFile } from "../checkpoint/checkpoint.js";
import { METADATA_KEY } from "../checkpoint/metadata.js";
import { CheckpointError, ConfigError } from "../errors.js";
import { formatTable } from "../evaluate/groups.js";

export interface ConvertOptions {
  /** A PyTorch checkpoint (`.pt`, `.pth`) or safetensors file. */
  input: string;
  /** The other kind of file; it is written atomically. */
  output: string;
  /** Part of the input, such as `model` or `ema`. Default: as `readTorchCheckpointArrays`; of safetensors, the whole. */
  key?: string;
  /** Registered name map: their names are those of the PyTorch checkpoint. Default `identity`. */
  map?: string;
  /** File or run whose names, shapes and dtypes the output must have. Default: none. */
  like?: string;
}

/** What a conversion did. */
export interface Conversion {
  /** The part of the input that was read; null: the whole. */
  key: string | null;
  /** Names and numbers of what was written, by dtype. */
  written: { dtype: string; tensors: number; elements: number; bytes: number }[];
  renamed: [from: string, to: string][];
  /** Tensors that the map has no rule for. */
  dropped: string[];
  /** What is no tensor, or in no part that was asked for. */
  skipped: string[];
}

type Format = "torch" | "safetensors";
interface Weights {
  arrays: Map<string, HostTensor>;
  key: string | null;
  skipped: string[];
}

/**
 * Converts weights between PyTorch checkpoints and safetensors, the direction by the files' extensions. f16 and bf16
 * become f32. Nothing is written unless all is well.
 *
 * @throws ConfigError for extensions or a map that are not known; CheckpointError listing what is missing, unexpected or
 * mis-shaped beside `like`; TorchCheckpointError, SafetensorsError, NameMapError
 */
export function convertWeights({ input, output, key, map = "identity", like }: ConvertOptions): Conversion {
  const [from, to] = [formatOf("IN", input), formatOf("OUT", output)];
  if (from === to)
    throw new ConfigError(
      "OUT",
      "",
      `is ${output}, expected a ${to === "torch" ? ".safetensors" : ".pt or .pth"} file`,
    );
  const names = findMap(map);
  const weights = read(input, from, key);
  const { values: arrays, renamed, dropped } = names.rename(weights.arrays, from === "torch" ? "ours" : "theirs");
  if (arrays.size === 0) throw new CheckpointError(input, `has no tensor whose name the map ${map} knows`);
  if (like !== undefined) {
    const lines = describeDifference(compareStateDicts(readReference(like), arrays));
    if (lines.length > 0) throw new CheckpointError(input, `does not fit ${like}:\n  ${lines.join("\n  ")}`);
  }
  scope(() => {
    const tensors = new Map(
      [...arrays].map(([name, { data, shape, dtype }]) => [name, tensor(data, { shape, dtype })]),
    );
    if (to === "torch") writeTorchCheckpoint(output, tensors);
    else writeSafetensors(output, tensors);
  });
  return { key: weights.key, written: summarize(arrays.values()), renamed, dropped, skipped: weights.skipped };
}

function formatOf(argument: string, path: string): Format {
  if (/\.(pt|pth)$/i.test(path)) return "torch";
  if (/\.safetensors$/i.test(path)) return "safetensors";
  throw new ConfigError(argument, "", `is ${path}, expected a file named .pt, .pth or .safetensors`);
}

function findMap(name: string): NameMap {
  if (!nameMapNames().includes(name))
    throw new ConfigError("--map", "", `is "${name}", expected one of ${nameMapNames().join(", ")}`);
  return getNameMap(name);
}

function read(path: string, format: Format, key: string | undefined): Weights {
  if (format === "torch") return readTorchCheckpointArrays(path, { key });
  const arrays = wide(readSafetensorsArrays(path).arrays);
  return key === undefined ? { arrays, key: null, skipped: [] } : selectPrefix(path, arrays, key);
}

const wide = (arrays: ReadonlyMap<string, HostTensor>): Map<string, HostTensor> =>
  new Map([...arrays].map(([name, array]) => [name, widenHalves(array)]));

function selectPrefix(path: string, arrays: ReadonlyMap<string, HostTensor>, key: string): Weights {
  const found: Weights = { arrays: new Map(), key, skipped: [] };
  for (const [name, array] of arrays) {
    if (name.startsWith(`${key}.`)) found.arrays.set(name.slice(key.length + 1), array);
    else found.skipped.push(name);
  }
  if (found.arrays.size > 0) return found;
  const parts = [...new Set([...arrays.keys()].map((name) => name.split(".", 1)[0]))];
  throw new CheckpointError(path, `has no tensor under "${key}"; its first parts are ${parts.slice(0, 40).join(", ")}`);
}

// Of a checkpoint of our own, the weights of the policy alone.
function readReference(path: string): ReadonlyMap<string, HostTensor> {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const file = isFolder ? checkpointFile(path) : path;
  if (formatOf("--like", file) === "torch") return readTorchCheckpointArrays(file).arrays;
  const { arrays: stored, metadata } = readSafetensorsArrays(file);
  const arrays = wide(stored);
  return metadata[METADATA_KEY] === undefined ? arrays : selectPrefix(file, arrays, "model").arrays;
}

function summarize(arrays: Iterable<HostTensor>): Conversion["written"] {
  const rows = new Map<string, Conversion["written"][number]>();
  for (const { dtype, data } of arrays) {
    const row = rows.get(dtype) ?? { dtype, tensors: 0, elements: 0, bytes: 0 };
    row.tensors += 1;
    row.elements += data.length;
    row.bytes += data.byteLength;
    rows.set(dtype, row);
  }
  return [...rows.values()];
}

/** A conversion as text for the terminal: a table by dtype, then names that changed and what was left out. */
export function formatConversion({ written, renamed, dropped, skipped }: Conversion): string {
  const sum = (column: "tensors" | "elements" | "bytes"): number =>
    written.reduce((total, row) => total + row[column], 0);
  const rows = [
    ...written,
    { dtype: "total", tensors: sum("tensors"), elements: sum("elements"), bytes: sum("bytes") },
  ];
  return [
    formatTable({
      titles: ["dtype", "tensors", "elements", "bytes"],
      rows: rows.map(({ dtype, tensors, elements, bytes }) => [dtype, ...[tensors, elements, bytes].map(String)]),
    }),
    ...list(
      "renamed",
      renamed.map((pair) => pair.join(" → ")),
    ),
    ...list("dropped, as the map has no rule for them:", dropped),
    ...list("not converted:", skipped),
  ].join("\n");
}

const MAX_LISTED = 100;

function list(title: string, items: readonly string[]): string[] {
  if (items.length === 0) return [];
  const more = items.length > MAX_LISTED ? [`  … and ${items.length - MAX_LISTED} more`] : [];
  return [`${items.length} ${title}`, ...items.slice(0, MAX_LISTED).map((item) => `  ${item}`), ...more];
}
