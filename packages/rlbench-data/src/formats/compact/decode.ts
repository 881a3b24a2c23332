import { type ByteSource, withFileBytes } from "../../byte-source.js";
import { type GripperState, toGripperState } from "../../demonstration.js";
import type { EpisodeRef, Observation, RecordedEpisode } from "../../episode-source.js";
import { DataError } from "../../errors.js";
import type { Instructions } from "../../rlbench/instructions.js";
import { storedLinkBox } from "../../robot/stored-boxes.js";
import { openSafetensors, type SafetensorsView, type StoredArray } from "../../safetensors.js";
import { EPISODE_FORMAT, EPISODE_VERSION } from "./encode.js";

const KINDS = ["cloud", "depth images", "position images"] as const;
const SOURCES = ["variation_descriptions", "taskvars_instructions", "task name"] as const;

/**
 * Opens an episode of the compact format; see `encodeEpisode`. A frame's arrays are read when it is asked for.
 *
 * @throws DataError naming file and field at fault
 */
export function openCompactEpisode(ref: EpisodeRef): RecordedEpisode {
  const file = ref.location;
  return withFileBytes(file, (bytes) => {
    const view = openSafetensors(bytes);
    const { format, version, task, id } = view.metadata;
    if (format !== EPISODE_FORMAT || version !== EPISODE_VERSION)
      throw new DataError(
        file,
        `is ${String(format)} ${String(version)}, expected ${EPISODE_FORMAT} ${EPISODE_VERSION}`,
      );
    if (id !== ref.id || task !== ref.task) throw new DataError(file, `id is ${String(id)}, expected ${ref.id}`);
    const fields = new Fields(view, bytes);
    const { variation, cameras, links, kind, instructions } = readMetadata(view.metadata, file);
    const states = fields.states("states");
    const keyPoses = fields.states("key_poses");
    const keyFrames = fields.frames("key_frames", keyPoses.length);
    if (states.length === 0 || keyFrames.length === 0 || keyFrames.some((frame) => frame < 1 || frame > states.length))
      throw fields.error("key_frames", `is [${keyFrames.join(", ")}] of ${states.length} frames`);
    const readFrame = (frame: number, chosen: readonly string[] = cameras): Observation => {
      if (!states[frame]) throw new DataError(file, `has no frame ${frame}, only ${states.length} frames`);
      const absent = chosen.find((name) => !cameras.includes(name));
      if (absent !== undefined) throw new DataError(file, `has no camera "${absent}", only ${cameras.join(", ")}`);
      return withFileBytes(file, (open) => readObservation(new Fields(view, open), frame, kind, chosen, links));
    };
    return {
      ref,
      variation,
      file,
      instructions,
      states,
      keyFrames,
      keyPoses,
      recordedFrames: fields.has("recorded_frames") ? fields.frames("recorded_frames", states.length) : null,
      trajectories: fields.has("trajectory0")
        ? keyPoses.map((_, k) => fields.floats(`trajectory${k}`, [null, 8]).data)
        : null,
      linkBoxes:
        links &&
        ((frame) => {
          const observation = readFrame(frame);
          return observation.kind === "cloud" ? (observation.links ?? []).map(storedLinkBox) : [];
        }),
      cameras,
      readFrame,
    };
  });
}

function readMetadata(
  metadata: Record<string, string>,
  file: string,
): {
  variation: number | null;
  cameras: string[];
  links: string[] | null;
  kind: Observation["kind"];
  instructions: Instructions;
} {
  const parse = (field: string): unknown => {
    try {
      return JSON.parse(metadata[field] ?? "null");
    } catch (error) {
      throw new DataError(file, `metadata ${field} is no JSON`, { cause: error });
    }
  };
  const isTexts = (value: unknown): value is string[] =>
    Array.isArray(value) && value.every((text) => typeof text === "string");
  const [variation, cameras, links] = [parse("variation"), parse("cameras"), parse("links")];
  const isVariation = variation === null || (Number.isSafeInteger(variation) && (variation as number) >= 0);
  if (!isVariation) throw new DataError(file, "metadata variation is no number");
  if (!isTexts(cameras)) throw new DataError(file, "metadata cameras is no list of names");
  if (links !== null && !isTexts(links)) throw new DataError(file, "metadata links is no list of names");
  const kind = KINDS.find((name) => name === metadata.kind);
  if (!kind) throw new DataError(file, `metadata kind is ${String(metadata.kind)}, expected ${KINDS.join(", ")}`);
  const { texts, source } = (parse("instructions") ?? {}) as Record<string, unknown>;
  const known = SOURCES.find((name) => name === source);
  if (!isTexts(texts) || texts.length === 0 || !known) throw new DataError(file, "metadata instructions are malformed");
  return { variation: variation as number | null, cameras, links, kind, instructions: { texts, source: known } };
}

function readObservation(
  fields: Fields,
  frame: number,
  kind: Observation["kind"],
  cameras: readonly string[],
  linkNames: readonly string[] | null,
): Observation {
  const prefix = `frame${frame}.`;
  if (kind === "cloud") {
    const positions = fields.floats(`${prefix}positions`, [null, 3]);
    const n = positions.shape[0];
    const rows = (name: string, width: number): Float32Array =>
      fields.floats(prefix + name, [linkNames!.length, width]).data;
    const [boxes, poses] = linkNames ? [rows("link_boxes", 6), rows("link_poses", 7)] : [];
    const links = linkNames?.map((name, i) => ({
      name,
      box: boxes!.slice(6 * i, 6 * i + 6),
      pose: poses!.slice(7 * i, 7 * i + 7),
    }));
    return {
      kind,
      positions: positions.data,
      colors: fields.array(`${prefix}colors`, "U8", [n, 3]).data as Uint8Array,
      labels: fields.has(`${prefix}labels`) ? (fields.array(`${prefix}labels`, "I32", [n]).data as Int32Array) : null,
      links: links ?? null,
    };
  }
  if (kind === "position images") {
    return {
      kind,
      cameras: cameras.map((name) => {
        const rgb = fields.floats(`${prefix}${name}.rgb`, [3, null, null]);
        const [, height, width] = checkSize(fields, `${prefix}${name}.rgb`, rgb.shape);
        const positions = fields.floats(`${prefix}${name}.positions`, [3, height, width]).data;
        return { name, width, height, rgb: rgb.data, positions };
      }),
    };
  }
  return {
    kind,
    cameras: cameras.map((name) => {
      const at = `${prefix}${name}.`;
      const rgb = fields.array(`${at}rgb`, "U8", [null, null, 3]);
      const [height, width] = checkSize(fields, `${at}rgb`, rgb.shape);
      const [near, far] = fields.doubles(`${at}clip`, [2]);
      const [intrinsics, extrinsics] = [
        fields.doubles(`${at}intrinsics`, [3, 3]),
        fields.doubles(`${at}extrinsics`, [4, 4]),
      ];
      return {
        name,
        width,
        height,
        rgb: rgb.data as Uint8Array,
        depth: fields.floats(`${at}depth`, [height, width]).data,
        calibration: { intrinsics, extrinsics, near, far },
      };
    }),
  };
}

// One side may be huge where the other is 0: no bytes bound it.
function checkSize(fields: Fields, name: string, shape: readonly number[]): readonly number[] {
  if (shape.includes(0)) throw fields.error(name, `is [${shape.join(", ")}], expected at least one pixel`);
  return shape;
}

/** Typed access to the tensors of an episode; errors name file and tensor. */
class Fields {
  constructor(
    private readonly view: SafetensorsView,
    private readonly bytes: ByteSource,
  ) {}

  has(name: string): boolean {
    return this.view.names.includes(name);
  }

  /** A tensor of that dtype and shape, null standing for any size. */
  array(name: string, dtype: StoredArray["dtype"], shape: readonly (number | null)[]): StoredArray {
    const found = this.view.read(name, this.bytes);
    const fits =
      found.shape.length === shape.length &&
      shape.every((size, axis) => (size ?? found.shape[axis]) === found.shape[axis]);
    if (found.dtype === dtype && fits) return found;
    const expected = `${dtype} [${shape.map((size) => size ?? "*").join(", ")}]`;
    throw this.error(name, `is ${found.dtype} [${found.shape.join(", ")}], expected ${expected}`);
  }

  floats(name: string, shape: readonly (number | null)[]): { shape: readonly number[]; data: Float32Array } {
    const found = this.array(name, "F32", shape);
    const data = found.data as Float32Array;
    if (!data.every(Number.isFinite)) throw this.error(name, "has elements that are not finite");
    return { shape: found.shape, data };
  }

  doubles(name: string, shape: readonly (number | null)[]): Float64Array {
    const data = this.array(name, "F64", shape).data as Float64Array;
    if (!data.every(Number.isFinite)) throw this.error(name, "has elements that are not finite");
    return data;
  }

  states(name: string): GripperState[] {
    const rows = this.doubles(name, [null, 8]);
    return Array.from({ length: rows.length / 8 }, (_, i) => toGripperState(rows.subarray(8 * i), rows[8 * i + 7]));
  }

  frames(name: string, count: number): number[] {
    const frames = Array.from(this.array(name, "I32", [count]).data as Int32Array);
    if (!frames.every((frame, i) => frame >= 0 && (i === 0 || frame > frames[i - 1])))
      throw this.error(name, `are ${frames.join(", ")}, expected ascending frames`);
    return frames;
  }

  error(name: string, problem: string): DataError {
    return new DataError(this.bytes.name, `tensor "${name}" ${problem}`);
  }
}
