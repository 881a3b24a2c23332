import { join } from "node:path";
import { describeValue, NdArray, PickleObject, type PickleValue } from "@md/pickle";
import { DataError } from "../errors.js";
import { readPickle } from "../read-pickle.js";
import type { Episode } from "./episodes.js";

/** Geometry of one camera at one frame, as RLBench's `misc` records it. */
export interface CameraCalibration {
  /** Row-major 3×3; focal lengths are negative, the principal point is half the image size. */
  intrinsics: Float64Array;
  /** Row-major 4×4, camera to world. */
  extrinsics: Float64Array;
  /** Near and far clipping plane, in metres. */
  near: number;
  far: number;
}

/** The same object may stand in a list many times over, and each is read. */
const MAX_FRAMES = 2 ** 14;
const MAX_CAMERAS = 32;
const MAX_NUMBERS = 64;

/** What an episode records at one frame beside images. */
export interface LowDimFrame {
  /** Position in metres, then quaternion xyzw: [7]. */
  gripperPose: Float64Array;
  /** 1 open, 0 closed. */
  gripperOpen: number;
  /** Radians a second, [joints]; null where the recording has none. */
  jointVelocities: Float64Array | null;
  /** Radians, [joints]; null where the recording has none. */
  jointPositions: Float64Array | null;
  /** Metres of each finger from the middle, [2]; null where the recording has none. */
  gripperJointPositions: Float64Array | null;
  /** Calibration of each camera named in `misc`. */
  cameras: ReadonlyMap<string, CameraCalibration>;
}

/** Content of an episode's `low_dim_obs.pkl`. */
export interface LowDim {
  /** The file it came from. */
  file: string;
  frames: LowDimFrame[];
}

/**
 * Reads an episode's `low_dim_obs.pkl`, a pickled `Demo` of `Observation`s of RLBench or AMSolver.
 *
 * @throws PickleError on a corrupt or hostile pickle, DataError when a field is missing or not finite
 */
export function readLowDim(episode: Pick<Episode, "directory">): LowDim {
  const file = join(episode.directory, "low_dim_obs.pkl");
  const demo = readPickle(file);
  const observations = demo instanceof PickleObject ? demo.state.get("_observations") : demo;
  if (!Array.isArray(observations) || observations.length === 0)
    throw new DataError(file, `holds ${describeValue(demo)}, expected a Demo with at least one observation`);
  if (observations.length > MAX_FRAMES)
    throw new DataError(file, `has ${observations.length} frames, expected at most ${MAX_FRAMES}`);
  return { file, frames: observations.map((observation, frame) => readFrame(observation, new Fields(file, frame))) };
}

function readFrame(observation: PickleValue, fields: Fields): LowDimFrame {
  if (!(observation instanceof PickleObject)) throw fields.error("observation", `is ${describeValue(observation)}`);
  const { state } = observation;
  const optional = (name: string, length?: number): Float64Array | null => {
    const value = state.get(name) ?? null;
    return value === null ? null : fields.vector(name, value, length);
  };
  return {
    gripperPose: fields.vector("gripper_pose", state.get("gripper_pose"), 7),
    gripperOpen: fields.number("gripper_open", state.get("gripper_open")),
    jointVelocities: optional("joint_velocities"),
    jointPositions: optional("joint_positions"),
    gripperJointPositions: optional("gripper_joint_positions", 2),
    cameras: readCameras(state.get("misc") ?? null, fields),
  };
}

function readCameras(misc: PickleValue, fields: Fields): Map<string, CameraCalibration> {
  const cameras = new Map<string, CameraCalibration>();
  if (!(misc instanceof Map)) return cameras;
  for (const key of misc.keys()) {
    if (typeof key !== "string" || !key.endsWith("_camera_intrinsics")) continue;
    if (cameras.size >= MAX_CAMERAS) throw fields.error("misc", `has more than ${MAX_CAMERAS} cameras`);
    const name = key.slice(0, -"_camera_intrinsics".length);
    const field = (part: string): [string, PickleValue | undefined] => [
      `misc.${name}_camera_${part}`,
      misc.get(`${name}_camera_${part}`),
    ];
    const calibration: CameraCalibration = {
      intrinsics: fields.vector(...field("intrinsics"), 9),
      extrinsics: fields.vector(...field("extrinsics"), 16),
      near: fields.number(...field("near")),
      far: fields.number(...field("far")),
    };
    if (!(calibration.near >= 0 && calibration.far > calibration.near))
      throw fields.error(`misc.${name}_camera_far`, `is ${calibration.far} with a near plane at ${calibration.near}`);
    cameras.set(name, calibration);
  }
  return cameras;
}

/** Typed access to an observation's fields; errors name file, frame and field. */
class Fields {
  constructor(
    private readonly file: string,
    private readonly frame: number,
  ) {}

  error(field: string, problem: string): DataError {
    return new DataError(this.file, `frame ${this.frame}: ${field} ${problem}`);
  }

  number(field: string, value: PickleValue | undefined): number {
    const number = value instanceof NdArray && value.shape.length === 0 ? value.data[0] : value;
    if (typeof number === "boolean") return Number(number);
    if (typeof number !== "number" || !Number.isFinite(number)) throw this.unexpected(field, value, "a finite number");
    return number;
  }

  vector(field: string, value: PickleValue | undefined, length?: number): Float64Array {
    if (!(value instanceof NdArray) || value.type === "O") throw this.unexpected(field, value, "a numpy array");
    if (value.data.length > MAX_NUMBERS) throw this.unexpected(field, value, `at most ${MAX_NUMBERS} numbers`);
    const numbers = Float64Array.from(value.data as ArrayLike<number | bigint>, Number);
    if (length !== undefined && numbers.length !== length) throw this.unexpected(field, value, `${length} numbers`);
    if (!numbers.every(Number.isFinite)) throw this.error(field, "has elements that are not finite");
    return numbers;
  }

  private unexpected(field: string, value: PickleValue | undefined, expected: string): DataError {
    const found = value === undefined ? "missing" : describeValue(value);
    return this.error(field, `is ${found}, expected ${expected}`);
  }
}
