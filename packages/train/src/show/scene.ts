import {
  CounterRandom,
  cropToBounds,
  type GripperState,
  type Observation,
  observationCloud,
  type PointCloud,
  pointCount,
  type Quaternion,
  type RecordedEpisode,
  RLBENCH_BOUNDS,
  RLBENCH_WORKSPACE_CENTER,
  takeRows,
  type Vector3,
} from "@md/rlbench-data";

/** Points of a cloud in the page; what a cloud has more of is drawn at random. */
export const MAX_POINTS = 20_000;
/** Points of the gripper's path. */
const MAX_PATH = 2000;
/** Metres of an axis of a key pose. */
const AXIS = 0.05;

export const OPEN_COLOR = "#0072b2";
export const CLOSED_COLOR = "#d55e00";
export const PATH_COLOR = "#cc79a7";
const AXIS_COLORS = ["#e00000", "#00a000", "#0000e0"];

/** Positions in metres and RGB of 0 to 255, [n, 3] each. */
interface Drawing {
  positions: number[];
  colors: number[];
}

/** A cloud in base64: positions as 16-bit shares of the box from `min` along `extent`, colours a byte each. */
interface PackedCloud {
  min: Vector3;
  extent: Vector3;
  positions: string;
  colors: string;
}

/** What `pages/cloud-viewer.js` draws. */
export interface Scene {
  clouds: PackedCloud[];
  /** Ends of lines: the gripper's path and the axes of the key poses. */
  lines: Drawing;
  /** Where the gripper is at the start and at each key pose. */
  markers: Drawing;
  labels: { text: string; position: Vector3 }[];
  target: Vector3;
}

/** A cloud to be drawn, and how many points it had. */
export interface ShownCloud {
  packed: PackedCloud;
  stored: number;
  inWorkspace: number;
  shown: number;
}

/** The points of an observation within the workspace, or all of them where none lies there. */
export function shownCloud(observation: Observation, source: string): ShownCloud {
  const whole = observationCloud(observation, source);
  const within = cropToBounds(whole, RLBENCH_BOUNDS);
  const cloud = pointCount(within) > 0 ? within : whole;
  const available = pointCount(cloud);
  const sampled = available > MAX_POINTS ? sample(cloud, available) : cloud;
  return {
    packed: pack(sampled),
    stored: pointCount(whole),
    inWorkspace: pointCount(within),
    shown: pointCount(sampled),
  };
}

function sample({ positions, colors }: PointCloud, available: number): PointCloud {
  const chosen = new CounterRandom(0).choose(available, MAX_POINTS);
  const sampled: PointCloud = {
    positions: new Float32Array(3 * MAX_POINTS),
    colors: new Float32Array(3 * MAX_POINTS),
  };
  takeRows(positions, chosen, sampled.positions);
  takeRows(colors, chosen, sampled.colors);
  return sampled;
}

function pack({ positions, colors }: PointCloud): PackedCloud {
  const [low, high] = [Infinity, -Infinity].map((value) => [value, value, value]) as [number[], number[]];
  positions.forEach((value, i) => {
    low[i % 3] = Math.min(low[i % 3]!, value);
    high[i % 3] = Math.max(high[i % 3]!, value);
  });
  const extent = low.map((value, axis) => Math.max(high[axis]! - value, 1e-6));
  const shares = Uint16Array.from(positions, (value, i) =>
    Math.round(((value - low[i % 3]!) / extent[i % 3]!) * 65535),
  );
  const bytes = Uint8Array.from(colors, (value) => Math.round(255 * value));
  return {
    min: vector(low),
    extent: vector(extent),
    positions: Buffer.from(shares.buffer).toString("base64"),
    colors: Buffer.from(bytes).toString("base64"),
  };
}

const vector = (values: readonly number[]): Vector3 => [values[0]!, values[1]!, values[2]!];

/** Where the gripper's path comes from. */
export type PathSource = "every frame" | "stored trajectories" | "straight lines";

/** Positions along the path: the stored trajectories, or the frames; straight lines where there are but key steps. */
export function gripperPath(episode: RecordedEpisode): { source: PathSource; points: Vector3[] } {
  const { states, keyFrames, keyPoses, trajectories } = episode;
  if (trajectories) {
    const points = trajectories.flatMap((rows) =>
      Array.from({ length: rows.length / 8 }, (_, i) => vector([...rows.subarray(8 * i, 8 * i + 3)])),
    );
    return { source: "stored trajectories", points: thin(points) };
  }
  const seen = states.map(({ position }) => position);
  const unseen = keyPoses.filter((_, k) => keyFrames[k]! >= states.length).map(({ position }) => position);
  const source = states.length > keyFrames.length + 1 ? "every frame" : "straight lines";
  return { source, points: thin([...seen, ...unseen]) };
}

function thin(points: Vector3[]): Vector3[] {
  const stride = Math.ceil(points.length / MAX_PATH);
  return points.filter((_, i) => i % stride === 0 || i === points.length - 1);
}

/** The scene of an episode: the path, the start, the key poses, and a cloud for each step shown. */
export function episodeScene(episode: RecordedEpisode, clouds: readonly ShownCloud[]): Scene {
  const lines: Drawing = { positions: [], colors: [] };
  const markers: Drawing = { positions: [], colors: [] };
  const line = (from: Vector3, to: Vector3, color: string): void => {
    lines.positions.push(...from, ...to);
    lines.colors.push(...rgb(color), ...rgb(color));
  };
  const { points } = gripperPath(episode);
  points.slice(1).forEach((point, i) => line(points[i]!, point, PATH_COLOR));
  const poses: GripperState[] = [episode.states[0]!, ...episode.keyPoses];
  for (const { position, quaternion, open } of poses) {
    axes(quaternion).forEach((axis, i) =>
      line(position, vector(position.map((value, c) => value + AXIS * axis[c]!)), AXIS_COLORS[i]!),
    );
    markers.positions.push(...position);
    markers.colors.push(...rgb(open ? OPEN_COLOR : CLOSED_COLOR));
  }
  return {
    clouds: clouds.map(({ packed }) => packed),
    lines,
    markers,
    labels: poses.map(({ position }, i) => ({ text: i === 0 ? "start" : String(i), position })),
    target: target(poses),
  };
}

// The middle of the workspace; that of the key poses where they lie elsewhere.
function target(poses: readonly GripperState[]): Vector3 {
  const { min, max } = RLBENCH_BOUNDS;
  const within = poses.every(({ position }) => position.every((value, c) => value >= min[c]! && value <= max[c]!));
  if (within) return RLBENCH_WORKSPACE_CENTER;
  return vector([0, 1, 2].map((axis) => poses.reduce((sum, { position }) => sum + position[axis]!, 0) / poses.length));
}

/** The gripper's x, y and z axes in the world. */
function axes([x, y, z, w]: Quaternion): Vector3[] {
  return [
    [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)],
    [2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)],
    [2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)],
  ];
}

const rgb = (hex: string): number[] => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
