import { type GripperState, toGripperState } from "../../demonstration.js";
import type { DepthImage, EpisodeRef, PositionImage, RecordedEpisode } from "../../episode-source.js";
import { DataError } from "../../errors.js";
import { decodeDepthPng, decodePng } from "../../png.js";
import { calibrationFeature, depthFeature, imageFeature, type LeRobotCamera, positionsFeature } from "./features.js";
import type { LeRobotEntry } from "./index-file.js";
import { readParquet } from "./read-parquet.js";

/**
 * Opens an episode of a LeRobot data set; see `encodeLeRobotEpisode`. Its images are decoded when a frame is read.
 *
 * @throws DataError naming file, row and feature at fault
 */
export async function openLeRobotEpisode(
  ref: EpisodeRef,
  { instructions, frames, keyPoses, recordedFrames, variation }: Omit<LeRobotEntry, "task" | "index" | "id">,
  cameras: readonly LeRobotCamera[],
  episodeIndex: number,
): Promise<RecordedEpisode> {
  const file = ref.location;
  const images = cameras.flatMap(({ name, geometry }) => [
    imageFeature(name),
    ...(geometry === "depth" ? [depthFeature(name), calibrationFeature(name)] : [positionsFeature(name)]),
  ]);
  const columns = ["observation.state", "action", "episode_index", "frame_index", ...images];
  const rows = (await readParquet(file, columns)).map((row, step) => new Row(row, step, file));
  if (rows.length !== frames) throw new DataError(file, `has ${rows.length} rows, expected ${frames}`);
  rows.forEach((row, step) => {
    row.expect("episode_index", episodeIndex);
    row.expect("frame_index", step);
  });
  const names = cameras.map(({ name }) => name);
  return {
    ref,
    variation,
    file,
    instructions: { texts: [...instructions.texts], source: instructions.source },
    states: rows.map((row) => row.pose("observation.state")),
    keyFrames: Array.from({ length: keyPoses }, (_, k) => k + 1),
    keyPoses: rows.slice(0, keyPoses).map((row) => row.pose("action")),
    recordedFrames,
    trajectories: null,
    linkBoxes: null,
    cameras: names,
    readFrame(frame, chosen = names) {
      const row = rows[frame];
      if (!row) throw new DataError(file, `has no frame ${frame}, only ${rows.length} key steps`);
      const views = chosen.map((name) => {
        const camera = cameras.find((candidate) => candidate.name === name);
        if (!camera) throw new DataError(file, `has no camera "${name}", only ${names.join(", ")}`);
        return camera;
      });
      return cameras[0].geometry === "depth"
        ? { kind: "depth images", cameras: views.map((camera) => depthImage(row, camera)) }
        : { kind: "position images", cameras: views.map((camera) => positionImage(row, camera)) };
    },
  };
}

function depthImage(row: Row, { name, width, height }: LeRobotCamera): DepthImage {
  const image = (feature: string): [Buffer, string, number, number] => [
    row.png(feature),
    row.nameOf(feature),
    width,
    height,
  ];
  const numbers = row.numbers(calibrationFeature(name), 27);
  const [near, far] = numbers.slice(25);
  if (!(near >= 0 && far > near)) throw row.error(calibrationFeature(name), `has clipping planes ${near} and ${far}`);
  return {
    name,
    width,
    height,
    rgb: decodePng(...image(imageFeature(name))).data,
    depth: decodeDepthPng(...image(depthFeature(name))),
    calibration: {
      intrinsics: Float64Array.from(numbers.slice(0, 9)),
      extrinsics: Float64Array.from(numbers.slice(9, 25)),
      near,
      far,
    },
  };
}

function positionImage(row: Row, { name, width, height }: LeRobotCamera): PositionImage {
  const { data } = decodePng(row.png(imageFeature(name)), row.nameOf(imageFeature(name)), width, height);
  const pixels = width * height;
  const rgb = new Float32Array(3 * pixels);
  for (let i = 0; i < data.length; i++) rgb[(i % 3) * pixels + Math.floor(i / 3)] = data[i] / 127.5 - 1;
  return { name, width, height, rgb, positions: Float32Array.from(row.numbers(positionsFeature(name), 3 * pixels)) };
}

/** Typed access to a row's features; errors name file, row and feature. */
class Row {
  constructor(
    private readonly values: Record<string, unknown>,
    private readonly step: number,
    private readonly file: string,
  ) {}

  nameOf(feature: string): string {
    return `${this.file} row ${this.step} ${feature}`;
  }

  error(feature: string, problem: string): DataError {
    return new DataError(this.file, `row ${this.step}: ${feature} ${problem}`);
  }

  expect(feature: string, expected: number): void {
    const value = this.values[feature];
    if (value !== BigInt(expected) && value !== expected)
      throw this.error(feature, `is ${String(value)}, expected ${expected}`);
  }

  /** Finite numbers of a list, nested or not. */
  numbers(feature: string, length: number): number[] {
    const value = this.values[feature];
    const flat: unknown =
      Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value as Iterable<unknown>).flat(2) : null;
    if (!Array.isArray(flat) || flat.length !== length || !flat.every(Number.isFinite))
      throw this.error(feature, `is no list of ${length} finite numbers`);
    return flat as number[];
  }

  pose(feature: string): GripperState {
    const numbers = this.numbers(feature, 8);
    return toGripperState(numbers, numbers[7]);
  }

  png(feature: string): Buffer {
    const bytes = ((this.values[feature] ?? {}) as Record<string, unknown>).bytes;
    if (!(bytes instanceof Uint8Array)) throw this.error(feature, "has no bytes of a PNG file");
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
}
