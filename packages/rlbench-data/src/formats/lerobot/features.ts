import type { DepthImage, Observation, PositionImage } from "../../episode-source.js";
import { DataError } from "../../errors.js";

/** Of LeRobot's dataset format that is written and read. */
export const CODEBASE_VERSION = "v3.0";

/** A column of a LeRobot data set, as `meta/info.json` describes it. */
export interface Feature {
  dtype: "image" | "float32" | "float64" | "int64" | "bool";
  shape: number[];
  names: string[] | null;
  info?: { is_depth_map: true; depth_unit: "mm" };
}

/** A camera of a data set; LeRobot gives all frames of a feature one shape. */
export interface LeRobotCamera {
  name: string;
  width: number;
  height: number;
  /** What tells where its pixels lie. */
  geometry: "depth" | "positions";
}

/** Names of a state's and an action's elements: metres in the world frame, xyzw, and 1 open or 0 closed. */
export const POSE_NAMES = ["x", "y", "z", "qx", "qy", "qz", "qw", "open"];
/** Of a camera's calibration: intrinsics [3, 3] and extrinsics [4, 4], row-major, then the clipping planes in metres. */
export const CALIBRATION_NAMES = [...matrixNames("intrinsics", 3), ...matrixNames("extrinsics", 4), "near", "far"];

export const imageFeature = (camera: string): string => `observation.images.${camera}`;
export const depthFeature = (camera: string): string => `observation.depth.${camera}`;
export const calibrationFeature = (camera: string): string => `observation.calibration.${camera}`;
export const positionsFeature = (camera: string): string => `observation.positions.${camera}`;

const MAX_CAMERAS = 64;
export const MAX_SIDE = 8192;

/** The features of a data set with these cameras, in the order of their columns. */
export function featuresOf(cameras: readonly LeRobotCamera[]): Record<string, Feature> {
  const features: Record<string, Feature> = {
    "observation.state": { dtype: "float64", shape: [8], names: POSE_NAMES },
    action: { dtype: "float64", shape: [8], names: POSE_NAMES },
  };
  for (const { name, width, height, geometry } of cameras) {
    const axes = ["height", "width", "channels"];
    features[imageFeature(name)] = { dtype: "image", shape: [height, width, 3], names: axes };
    if (geometry === "depth") {
      const info = { is_depth_map: true, depth_unit: "mm" } as const;
      features[depthFeature(name)] = { dtype: "image", shape: [height, width, 1], names: axes, info };
      features[calibrationFeature(name)] = { dtype: "float64", shape: [27], names: CALIBRATION_NAMES };
    } else {
      const names = ["xyz", "height", "width"];
      features[positionsFeature(name)] = { dtype: "float32", shape: [3, height, width], names };
    }
  }
  const scalar = (dtype: Feature["dtype"]): Feature => ({ dtype, shape: [1], names: null });
  features["next.done"] = scalar("bool");
  features["timestamp"] = scalar("float32");
  for (const name of ["frame_index", "episode_index", "index", "task_index"]) features[name] = scalar("int64");
  return features;
}

/**
 * The cameras of an observation as LeRobot can have them.
 *
 * @throws DataError when it is a fused cloud, or has no cameras, or a name that no feature can have
 */
export function camerasOf(observation: Observation, source: string): LeRobotCamera[] {
  if (observation.kind === "cloud")
    throw new DataError(
      source,
      "is of fused clouds: there are no images, and LeRobot has no feature for clouds of any number of points",
    );
  const views: readonly (DepthImage | PositionImage)[] = observation.cameras;
  return checkCameras(
    views.map(({ name, width, height }) => ({
      name,
      width,
      height,
      geometry: observation.kind === "depth images" ? "depth" : "positions",
    })),
    source,
  );
}

/** The cameras of a list that came from a file. @throws DataError naming the source and the camera at fault */
export function checkCameras(cameras: unknown, source: string): LeRobotCamera[] {
  if (!Array.isArray(cameras) || cameras.length === 0 || cameras.length > MAX_CAMERAS)
    throw new DataError(source, `cameras is no list of 1 to ${MAX_CAMERAS} cameras`);
  const isSide = (value: unknown): boolean =>
    Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= MAX_SIDE;
  for (const [i, camera] of cameras.entries()) {
    const { name, width, height, geometry } = (camera ?? {}) as Record<string, unknown>;
    if (typeof name !== "string" || !/^[\w.-]{1,100}$/.test(name))
      throw new DataError(source, `cameras[${i}].name is ${JSON.stringify(name)}, expected letters, digits, _ . and -`);
    if (!isSide(width) || !isSide(height))
      throw new DataError(
        source,
        `cameras[${i}] is ${String(width)}×${String(height)}, expected sides up to ${MAX_SIDE}`,
      );
    if (geometry !== "depth" && geometry !== "positions")
      throw new DataError(source, `cameras[${i}].geometry is ${JSON.stringify(geometry)}, expected depth or positions`);
  }
  return cameras as LeRobotCamera[];
}

function matrixNames(name: string, size: number): string[] {
  return Array.from({ length: size * size }, (_, i) => `${name}_${Math.floor(i / size)}${i % size}`);
}
