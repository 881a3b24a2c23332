import { type GripperState, toGripperState } from "../../demonstration.js";
import type { EpisodeRef, RecordedEpisode, RobotLink } from "../../episode-source.js";
import { DataError } from "../../errors.js";
import type { Instructions } from "../../rlbench/instructions.js";
import { storedLinkBox } from "../../robot/stored-boxes.js";
import { decodeMsgpack, type MsgpackValue, type StoredNumpyArray, toStoredArray } from "../msgpack-numpy.js";

const MAX_STEPS = 4096;

/**
 * Decodes one value of a 3D-LOTUS key-step database: T key steps, the first of them the start, with a fused cloud each.
 * Fields: `action` [T, 8] (position, quaternion xyzw, open), `xyz` and `rgb` lists of T arrays [n, 3], `key_frameids`;
 * where present `sem`, T arrays [n], and `bbox_info`, `pose_info`, maps of `LINK_bbox` [T, 6] and `LINK_pose` [T, 7].
 * Other fields are not read. float64 clouds are rounded to float32.
 *
 * @throws DataError naming the field at fault
 */
export function decodeKeySteps(
  value: Uint8Array,
  source: string,
  ref: EpisodeRef,
  instructions: Instructions,
): RecordedEpisode {
  const fields = new Fields(decodeMsgpack(value, source), source);
  const states = readActions(fields);
  const steps = states.length;
  const [xyz, rgb] = [fields.list("xyz", steps), fields.list("rgb", steps)];
  const sem = fields.has("sem") ? fields.list("sem", steps) : null;
  const links = readLinks(fields, steps);
  const keyFrames = states.map((_, step) => step).slice(1);
  return {
    ref,
    variation: ref.variation,
    file: source,
    instructions,
    states,
    keyFrames,
    keyPoses: states.slice(1),
    recordedFrames: readFrameNumbers(fields, steps),
    trajectories: null,
    linkBoxes: links && ((frame) => links.map((link) => storedLinkBox(link(frame)))),
    cameras: [],
    readFrame(frame, cameras = []) {
      if (!states[frame]) throw new DataError(source, `has no frame ${frame}, only ${steps} key steps`);
      if (cameras.length > 0) throw new DataError(source, `has fused clouds, no camera "${cameras[0]}"`);
      const [points, colors, labels] = [`xyz[${frame}]`, `rgb[${frame}]`, `sem[${frame}]`];
      const cloud = fields.array(points, xyz[frame], [null, 3]);
      const n = cloud.shape[0];
      return {
        kind: "cloud",
        positions: fields.finite(points, cloud),
        colors: fields.bytes(colors, fields.array(colors, rgb[frame], [n, 3])),
        labels: sem && fields.integers(labels, fields.array(labels, sem[frame], [n])),
        links: links && links.map((link) => link(frame)),
      };
    },
  };
}

function readActions(fields: Fields): GripperState[] {
  const action = fields.array("action", fields.get("action"), [null, 8]);
  const [steps] = action.shape;
  if (!(steps >= 2 && steps <= MAX_STEPS))
    throw fields.error("action", `has ${steps} key steps, expected 2 to ${MAX_STEPS}`);
  const rows = fields.finite("action", action);
  return Array.from({ length: steps }, (_, step) => {
    const row = rows.subarray(8 * step, 8 * step + 8);
    return toGripperState(row, row[7]);
  });
}

function readFrameNumbers(fields: Fields, steps: number): number[] | null {
  if (!fields.has("key_frameids")) return null;
  const value = fields.get("key_frameids");
  const stored = toStoredArray(value, "key_frameids", fields.source);
  const numbers = stored ? [...fields.integers("key_frameids", stored)] : value;
  const ascends = (number: unknown, i: number, all: unknown[]): boolean =>
    Number.isInteger(number) &&
    (number as number) >= 0 &&
    (number as number) < 2 ** 31 &&
    (i === 0 || (number as number) > (all[i - 1] as number));
  if (!Array.isArray(numbers) || numbers.length !== steps || !(numbers as unknown[]).every(ascends))
    throw fields.error("key_frameids", `are not ${steps} ascending frame numbers`);
  return numbers as number[];
}

function readLinks(fields: Fields, steps: number): ((frame: number) => RobotLink)[] | null {
  if (!fields.has("bbox_info") || !fields.has("pose_info")) return null;
  const [boxes, poses] = [fields.map("bbox_info"), fields.map("pose_info")];
  return [...boxes].map(([key, value]) => {
    if (typeof key !== "string" || !key.endsWith("_bbox"))
      throw fields.error("bbox_info", "has a key that is no LINK_bbox");
    const name = key.slice(0, -"_bbox".length);
    const [boxField, poseField] = [`bbox_info.${key}`, `pose_info.${name}_pose`];
    const box = fields.finite(boxField, fields.array(boxField, value, [steps, 6]));
    const pose = fields.finite(poseField, fields.array(poseField, poses.get(`${name}_pose`), [steps, 7]));
    return (frame) => ({
      name,
      box: box.slice(6 * frame, 6 * frame + 6),
      pose: pose.slice(7 * frame, 7 * frame + 7),
    });
  });
}

/** Typed access to the fields of a value; errors name source and field. */
class Fields {
  private readonly fields: ReadonlyMap<MsgpackValue, MsgpackValue>;

  constructor(
    value: MsgpackValue,
    readonly source: string,
  ) {
    if (!(value instanceof Map)) throw new DataError(source, "is no map of key steps");
    this.fields = new Map(
      [...value].map(([key, item]) => [key instanceof Uint8Array ? Buffer.from(key).toString() : key, item]),
    );
  }

  error(field: string, problem: string): DataError {
    return new DataError(this.source, `${field} ${problem}`);
  }

  has(field: string): boolean {
    return this.fields.has(field);
  }

  get(field: string): MsgpackValue | undefined {
    return this.fields.get(field);
  }

  list(field: string, length: number): MsgpackValue[] {
    const value = this.get(field);
    if (!Array.isArray(value)) throw this.error(field, "is missing or no list");
    if (value.length !== length)
      throw this.error(field, `has ${value.length} key steps, expected ${length} as action has`);
    return value;
  }

  map(field: string): Map<MsgpackValue, MsgpackValue> {
    const value = this.get(field);
    if (!(value instanceof Map)) throw this.error(field, "is no map");
    return value;
  }

  /** A numpy array of that shape, null standing for any size. */
  array(field: string, value: MsgpackValue | undefined, shape: readonly (number | null)[]): StoredNumpyArray {
    const array = toStoredArray(value, field, this.source);
    const [found, expected] = [array?.shape.join(", "), shape.map((size) => size ?? "*").join(", ")];
    if (!array) throw this.error(field, `is missing or no numpy array, expected [${expected}]`);
    if (array.shape.length !== shape.length || shape.some((size, axis) => size !== null && size !== array.shape[axis]))
      throw this.error(field, `has shape [${found}], expected [${expected}]`);
    return array;
  }

  finite(field: string, { descr, bytes }: StoredNumpyArray): Float32Array {
    if (descr !== "<f4" && descr !== "<f8") throw this.error(field, `has numpy type ${descr}, expected <f4 or <f8`);
    const { buffer } = new Uint8Array(bytes);
    const numbers = descr === "<f4" ? new Float32Array(buffer) : Float32Array.from(new Float64Array(buffer));
    const bad = numbers.findIndex((number) => !Number.isFinite(number));
    if (bad >= 0) throw this.error(field, `has ${numbers[bad]} at element ${bad}, expected finite numbers`);
    return numbers;
  }

  bytes(field: string, { descr, bytes }: StoredNumpyArray): Uint8Array {
    if (descr !== "|u1") throw this.error(field, `has numpy type ${descr}, expected |u1`);
    return new Uint8Array(bytes);
  }

  integers(field: string, { descr, bytes }: StoredNumpyArray): Int32Array {
    const { buffer } = new Uint8Array(bytes);
    if (descr === "<i4") return new Int32Array(buffer);
    if (descr !== "<i8") throw this.error(field, `has numpy type ${descr}, expected <i4 or <i8`);
    return Int32Array.from(new BigInt64Array(buffer), (value) => {
      if (value !== BigInt.asIntN(32, value)) throw this.error(field, `has ${value}, expected 32-bit integers`);
      return Number(value);
    });
  }
}
