import type { GripperState } from "../../demonstration.js";
import type { DepthImage, Observation, PositionImage, RecordedEpisode } from "../../episode-source.js";
import { DataError } from "../../errors.js";
import { encodeDepthPng, encodePng } from "../../png.js";
import {
  calibrationFeature,
  depthFeature,
  type Feature,
  featuresOf,
  imageFeature,
  type LeRobotCamera,
  positionsFeature,
} from "./features.js";
import { encodeParquet } from "./parquet.js";
import type { FeatureStats } from "./stats.js";

/** Millimetres in a metre: depth is stored in whole millimetres. */
const MM = 1000;
/** A row a second: key steps have no even pace, and LeRobot wants one. */
export const FPS = 1;

/** Where an episode stands in its data set. */
export interface Placement {
  episodeIndex: number;
  /** Number of its first row in the data set. */
  firstIndex: number;
  /** Of its instruction. */
  taskIndex: number;
}

/**
 * Key steps of an episode as LeRobot's parquet file of one row a step: the gripper, the next key pose as action, the
 * images, and where the cameras are. The row of the final key pose, where it was observed, has that pose as action.
 * Depth is rounded to millimetres, colours in [-1, 1] to 8 bits.
 *
 * @param episode whose frames are its key steps; see `keySteps`
 * @param stats of each feature, to be added to
 * @throws DataError when the cameras are others than `cameras`, a depth does not fit, or whatever reading a frame throws
 */
export function encodeLeRobotEpisode(
  episode: RecordedEpisode,
  cameras: readonly LeRobotCamera[],
  { episodeIndex, firstIndex, taskIndex }: Placement,
  stats?: ReadonlyMap<string, FeatureStats>,
): Buffer {
  const { states, keyPoses, file } = episode;
  const features = featuresOf(cameras);
  const values = new Map<string, unknown[]>(Object.keys(features).map((name) => [name, []]));
  const put = (name: string, numbers: ArrayLike<number>): void => {
    const { shape, dtype } = features[name];
    stats?.get(name)!.add(numbers);
    const scalar = dtype === "bool" ? numbers[0] === 1 : numbers[0];
    values.get(name)!.push(isScalar(shape) ? scalar : nest(numbers, shape));
  };
  const putImage = (name: string, step: number, png: Uint8Array, pixels: ArrayLike<number>): void => {
    stats?.get(name)!.add(pixels);
    values.get(name)!.push({ bytes: png, path: `frame-${String(step).padStart(6, "0")}.png` });
  };
  states.forEach((state, step) => {
    put("observation.state", row(state));
    put("action", row(keyPoses[Math.min(step, keyPoses.length - 1)]));
    const observation = episode.readFrame(
      step,
      cameras.map(({ name }) => name),
    );
    for (const { name, width, height } of cameras) {
      const view = viewOf(observation, name, width, height, `${file} key step ${step}`);
      const rgb = "depth" in view ? view.rgb : bytesOf(view);
      putImage(imageFeature(name), step, encodePng({ width, height, data: rgb }), rgb);
      if ("depth" in view) {
        const { intrinsics, extrinsics, near, far } = view.calibration;
        const depth = millimetres(view.depth, `${file} key step ${step} camera "${name}"`);
        putImage(depthFeature(name), step, encodeDepthPng({ width, height, data: depth }), depth);
        put(calibrationFeature(name), [...intrinsics, ...extrinsics, near, far]);
      } else {
        put(positionsFeature(name), view.positions);
      }
    }
    put("next.done", [step === states.length - 1 ? 1 : 0]);
    put("timestamp", [step / FPS]);
    put("frame_index", [step]);
    put("episode_index", [episodeIndex]);
    put("index", [firstIndex + step]);
    put("task_index", [taskIndex]);
  });
  const columns = Object.entries(features).map(([name, { dtype, shape }]) => ({
    name,
    type: dtype,
    depth: dtype === "image" || isScalar(shape) ? 0 : shape.length,
    values: values.get(name)!,
  }));
  return encodeParquet(columns, { huggingface: JSON.stringify({ info: { features: huggingfaceFeatures(features) } }) });
}

const isScalar = (shape: readonly number[]): boolean => shape.length === 1 && shape[0] === 1;

const row = ({ position, quaternion, open }: GripperState): number[] => [...position, ...quaternion, open];

function nest(numbers: ArrayLike<number>, shape: readonly number[]): unknown[] {
  const build = (axis: number, at: number): unknown[] => {
    if (axis === shape.length - 1) return Array.from({ length: shape[axis] }, (_, i) => numbers[at + i]);
    const size = shape.slice(axis + 1).reduce((product, side) => product * side, 1);
    return Array.from({ length: shape[axis] }, (_, i) => build(axis + 1, at + i * size));
  };
  return build(0, 0);
}

function viewOf(
  observation: Observation,
  name: string,
  width: number,
  height: number,
  source: string,
): DepthImage | PositionImage {
  const views: readonly (DepthImage | PositionImage)[] = observation.kind === "cloud" ? [] : observation.cameras;
  const view = views.find((candidate) => candidate.name === name);
  if (!view) throw new DataError(source, `has no camera "${name}", which the first episode has`);
  if (view.width !== width || view.height !== height)
    throw new DataError(
      source,
      `camera "${name}" is ${view.width}×${view.height}, expected ${width}×${height} as in the first episode`,
    );
  return view;
}

function bytesOf({ width, height, rgb }: PositionImage): Uint8Array {
  const pixels = width * height;
  const data = new Uint8Array(3 * pixels);
  for (let i = 0; i < data.length; i++) data[i] = Math.round(127.5 * (rgb[(i % 3) * pixels + Math.floor(i / 3)] + 1));
  return data;
}

function millimetres(depth: Float32Array, source: string): Uint16Array {
  return Uint16Array.from(depth, (metres, pixel) => {
    const steps = Math.round(metres * MM);
    if (!(steps >= 0 && steps <= 65535))
      throw new DataError(source, `depth of pixel ${pixel} is ${metres} m, expected 0 to 65.535 m`);
    return steps;
  });
}

// How the `datasets` library tells the types of columns.
function huggingfaceFeatures(features: Readonly<Record<string, Feature>>): Record<string, unknown> {
  const typeOf = ({ dtype, shape }: Feature): unknown => {
    if (dtype === "image") return { _type: "Image" };
    if (shape.length > 1) return { shape, dtype, _type: `Array${shape.length}D` };
    const value = { dtype, _type: "Value" };
    return shape[0] === 1 ? value : { feature: value, length: shape[0], _type: "Sequence" };
  };
  return Object.fromEntries(Object.entries(features).map(([name, feature]) => [name, typeOf(feature)]));
}
