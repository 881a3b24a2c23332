import { existsSync } from "node:fs";
import { DataError } from "../../src/errors.js";
import {
  type CameraFrame,
  discoverKeyPoses,
  type Episode,
  type LowDim,
  listCameras,
  openRLBench,
  readCameraFrame,
  readLowDim,
  unprojectDepth,
} from "../../src/index.js";
import { readSafetensors, type SafetensorsContent, type StoredArray } from "../../src/safetensors.js";
import { rlbenchFolder } from "./paths.js";

/** Outcome of a golden file: how many cases passed, failed or could not be run, and why. */
export interface GoldenReport {
  passed: number;
  failed: number;
  pending: number;
  messages: string[];
}

interface EpisodeIndex {
  frames: number;
  key_frames: number[];
  cameras: string[];
}

const TOLERANCE = 1e-5;

/**
 * Holds the reader against a golden file of decoded RLBench demonstrations. The cases are the file's
 * tensors and the entries of its `index`; the task is the one whose episodes have the frame counts
 * that the index gives.
 */
export function checkRlbenchGolden(file: string, demos: string = rlbenchFolder): GoldenReport {
  const golden = readSafetensors(file);
  const report: GoldenReport = { passed: 0, failed: 0, pending: 0, messages: [] };
  if (golden.metadata.index === undefined) {
    fail(report, "index", "the file has no index of episodes");
    return report;
  }
  const index = JSON.parse(golden.metadata.index) as Record<string, EpisodeIndex>;
  if (!existsSync(demos)) {
    report.pending = golden.tensors.size + Object.keys(index).length;
    report.messages.push(`${demos} is not there`);
    return report;
  }
  const episodes = findTask(index, demos);
  for (const [name, expected] of Object.entries(index)) {
    const episode = episodes?.find((candidate) => candidate.id.endsWith(`/${name}`));
    if (episode) checkEpisode(name, expected, episode, golden, report);
    else fail(report, name, "no task has the episodes of the index");
  }
  const named = new RegExp(`^(${Object.keys(index).join("|")})\\.`);
  for (const name of golden.tensors.keys())
    if (!named.test(name)) fail(report, name, "belongs to no episode of the index");
  return report;
}

function findTask(index: Record<string, EpisodeIndex>, demos: string): Episode[] | undefined {
  const root = openRLBench(demos);
  return root.tasks
    .map((task) => root.episodes(task))
    .find((episodes) =>
      Object.entries(index).every(([name, { frames }]) => {
        const episode = episodes.find((candidate) => candidate.id.endsWith(`/${name}`));
        return episode !== undefined && readLowDim(episode).frames.length === frames;
      }),
    );
}

function checkEpisode(
  name: string,
  expected: EpisodeIndex,
  episode: Episode,
  golden: SafetensorsContent,
  report: GoldenReport,
): void {
  const lowDim = readLowDim(episode);
  const keyFrames = discoverKeyPoses(lowDim.frames);
  attempt(report, `${name} index`, () => {
    expectEqual("key frames", keyFrames, expected.key_frames);
    expectEqual("cameras", listCameras(episode), [...expected.cameras].sort());
  });
  const views = new Map<string, CameraFrame>();
  for (const [tensorName, tensor] of golden.tensors) {
    if (!tensorName.startsWith(`${name}.`)) continue;
    attempt(report, tensorName, () =>
      checkTensor(tensorName.slice(name.length + 1), tensor, episode, lowDim, keyFrames, views),
    );
  }
}

function checkTensor(
  field: string,
  tensor: StoredArray,
  episode: Episode,
  lowDim: LowDim,
  keyFrames: number[],
  views: Map<string, CameraFrame>,
): void {
  const { frames } = lowDim;
  switch (field) {
    case "gripper_pose":
      return compare(
        tensor,
        [frames.length, 7],
        frames.flatMap((frame) => [...frame.gripperPose]),
        0,
      );
    case "gripper_open":
      return compare(
        tensor,
        [frames.length],
        frames.map((frame) => frame.gripperOpen),
        0,
      );
    case "joint_velocities": {
      const velocities = frames.map((frame) => [...(frame.jointVelocities ?? [])]);
      return compare(tensor, [frames.length, velocities[0].length], velocities.flat(), 0);
    }
    case "key_frames":
      return compare(tensor, [keyFrames.length], keyFrames, 0);
  }
  const match = /^frame(\d+)\.(\w+)\.(depth_m|xyz_world|rgb)$/.exec(field);
  if (!match) throw new DataError(field, "is a field that this check does not know");
  const [, frame, camera, kind] = match;
  const key = `${frame}.${camera}`;
  const view = views.get(key) ?? readCameraFrame(episode, lowDim, camera, Number(frame));
  views.set(key, view);
  if (kind === "depth_m") compareImage(tensor, view, view.depth, 1, TOLERANCE);
  if (kind === "rgb") compareImage(tensor, view, view.rgb, 3, 0);
  if (kind === "xyz_world")
    compareImage(
      tensor,
      view,
      unprojectDepth(view.depth, view.width, view.height, view.calibration, field),
      3,
      TOLERANCE,
    );
}

/** Compares with every s-th row and column of an image, s being the ratio of the two sizes. */
function compareImage(
  tensor: StoredArray,
  { width, height }: CameraFrame,
  pixels: ArrayLike<number>,
  channels: number,
  tolerance: number,
): void {
  const [rows, columns] = tensor.shape;
  const stride = Math.round(height / rows);
  const found: number[] = [];
  for (let v = 0; v < height; v += stride)
    for (let u = 0; u < width; u += stride)
      for (let channel = 0; channel < channels; channel++) found.push(pixels[(v * width + u) * channels + channel]);
  expectEqual("size", [rows, columns], [Math.ceil(height / stride), Math.ceil(width / stride)]);
  compare(tensor, channels === 1 ? [rows, columns] : [rows, columns, channels], found, tolerance);
}

function compare(tensor: StoredArray, shape: number[], found: ArrayLike<number>, tolerance: number): void {
  expectEqual("shape", shape, tensor.shape);
  expectEqual("length", [found.length], [tensor.data.length]);
  let squaredError = 0;
  let squaredNorm = 0;
  let exact = true;
  for (let i = 0; i < found.length; i++) {
    const expected = Number(tensor.data[i]);
    squaredError += (found[i] - expected) ** 2;
    squaredNorm += expected ** 2;
    exact &&= found[i] === expected;
  }
  const [error, norm] = [Math.sqrt(squaredError), Math.sqrt(squaredNorm)];
  const within = tolerance === 0 ? exact : error <= tolerance * norm + 1e-7;
  if (!within) throw new Error(`differs by ${error} of ${norm}`);
}

function expectEqual(what: string, found: unknown, expected: unknown): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what} ${a}, expected ${b}`);
}

function attempt(report: GoldenReport, name: string, check: () => void): void {
  try {
    check();
    report.passed++;
  } catch (error) {
    fail(report, name, (error as Error).message);
  }
}

function fail(report: GoldenReport, name: string, problem: string): void {
  report.failed++;
  report.messages.push(`${name}: ${problem}`);
}
