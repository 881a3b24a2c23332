import { describeValue, NdArray, type PickleValue, type PickleWithTensors, TorchTensor } from "@md/pickle";
import { type GripperState, toGripperState } from "../../demonstration.js";
import type { EpisodeRef, PositionImage, RecordedEpisode } from "../../episode-source.js";
import { DataError } from "../../errors.js";
import type { Instructions } from "../../rlbench/instructions.js";

const FIELDS = ["frame ids", "observations", "actions", "cameras", "gripper", "trajectories"] as const;
const MAX_STEPS = 4096;

/**
 * An episode as 3D Diffuser Actor packages it, of T key steps: a list of T frame ids, observations float32
 * [T, cameras, rgb or xyz, 3, height, width] (rgb in [-1, 1], xyz in metres), T actions [1, 8] that are the next key
 * poses, one dict a step by camera name, T gripper states [1, 8], and, where stored, T trajectories [n, 8].
 *
 * @throws DataError naming the field at fault
 */
export function packagedEpisode(
  pickle: PickleWithTensors,
  ref: EpisodeRef,
  instructions: Instructions,
): RecordedEpisode {
  const file = ref.location;
  const fields = new Fields(pickle, file);
  const frameIds = fields.list("frame ids");
  const steps = frameIds.length;
  if (!(steps >= 1 && steps <= MAX_STEPS))
    throw fields.error("frame ids", `has ${steps} key steps, expected 1 to ${MAX_STEPS}`);
  const observations = fields.numbers("observations", fields.value("observations"), [steps, null, 2, 3, null, null]);
  const [, cameraCount, , , height, width] = observations.shape;
  const cameras = readCameraNames(fields, cameraCount);
  const actions = fields.list("actions", steps);
  const gripper = fields.list("gripper", steps);
  const states = gripper.map((row, step) => fields.state(`gripper[${step}]`, row));
  return {
    ref,
    variation: ref.variation,
    file,
    instructions,
    states,
    keyFrames: frameIds.map((_, step) => step + 1),
    keyPoses: actions.map((row, step) => fields.state(`actions[${step}]`, row)),
    recordedFrames: null,
    trajectories: readTrajectories(fields, steps),
    linkBoxes: null,
    cameras,
    readFrame(frame, chosen = cameras) {
      if (!states[frame]) throw new DataError(file, `has no frame ${frame}, only ${steps} key steps`);
      return { kind: "position images", cameras: chosen.map((name) => image(frame, name)) };
    },
  };

  function image(frame: number, name: string): PositionImage {
    const camera = cameras.indexOf(name);
    if (camera < 0) throw new DataError(file, `has no camera "${name}", only ${cameras.join(", ")}`);
    const size = 3 * height * width;
    const at = 2 * size * (frame * cameraCount + camera);
    const rgb = observations.data.slice(at, at + size);
    const positions = observations.data.slice(at + size, at + 2 * size);
    const field = `observations[${frame}][${camera}]`;
    if (!positions.every(Number.isFinite)) throw fields.error(field, "has positions that are not finite");
    if (!rgb.every((value) => value >= -1 && value <= 1)) throw fields.error(field, "has colours outside of -1 to 1");
    return { name, width, height, rgb, positions };
  }
}

// Each step's dict has the cameras in the order of the images.
function readCameraNames(fields: Fields, count: number): string[] {
  const [first] = fields.list("cameras");
  const names = first instanceof Map ? [...first.keys()] : [];
  if (names.length !== count || !names.every((name) => typeof name === "string"))
    throw fields.error("cameras", `name ${names.length} cameras, expected the ${count} that the observations have`);
  return names as string[];
}

function readTrajectories(fields: Fields, steps: number): Float32Array[] | null {
  if (!fields.has("trajectories")) return null;
  return fields.list("trajectories", steps).map((value, step) => {
    const name = `trajectories[${step}]`;
    const { data } = fields.numbers(name, value, [null, 8]);
    if (!data.every(Number.isFinite)) throw fields.error(name, "has elements that are not finite");
    return data;
  });
}

/** Typed access to the parts of a package; errors name file and field. */
class Fields {
  private readonly parts: PickleValue[];

  constructor(
    private readonly pickle: PickleWithTensors,
    private readonly file: string,
  ) {
    const { root } = pickle;
    if (!Array.isArray(root) || root.length < 5 || root.length > FIELDS.length)
      throw new DataError(file, `holds ${describeValue(root)}, expected a list of ${FIELDS.join(", ")}`);
    this.parts = root;
  }

  error(field: string, problem: string): DataError {
    return new DataError(this.file, `${field} ${problem}`);
  }

  has(field: (typeof FIELDS)[number]): boolean {
    return this.parts.length > FIELDS.indexOf(field);
  }

  value(field: (typeof FIELDS)[number]): PickleValue {
    return this.parts[FIELDS.indexOf(field)];
  }

  list(field: (typeof FIELDS)[number], length?: number): PickleValue[] {
    const value = this.value(field);
    if (!Array.isArray(value)) throw this.error(field, `is ${describeValue(value)}, expected a list`);
    if (length !== undefined && value.length !== length)
      throw this.error(field, `has ${value.length} key steps, expected ${length} as frame ids has`);
    return value;
  }

  /** A float array or tensor of that shape, null standing for any size of at least 1. */
  numbers(
    field: string,
    value: PickleValue,
    expected: readonly (number | null)[],
  ): { shape: readonly number[]; data: Float32Array } {
    const found = value instanceof TorchTensor ? this.pickle.read(field, value) : value;
    const isArray = found instanceof NdArray || (typeof found === "object" && found !== null && "dtype" in found);
    const { shape, data } = isArray ? found : { shape: [], data: null };
    const fits =
      shape.length === expected.length && expected.every((size, axis) => (size ?? shape[axis]) === shape[axis]);
    if (!(data instanceof Float32Array || data instanceof Float64Array) || !fits || data.length === 0) {
      const wanted = expected.map((size) => size ?? "*").join(", ");
      throw this.error(field, `is ${describeValue(value)}, expected floats [${wanted}]`);
    }
    return { shape, data: data instanceof Float32Array ? data : Float32Array.from(data) };
  }

  state(field: string, value: PickleValue): GripperState {
    const { data } = this.numbers(field, value, [1, 8]);
    if (!data.every(Number.isFinite)) throw this.error(field, `is ${data.join(", ")}, expected finite numbers`);
    return toGripperState(data, data[7]);
  }
}
