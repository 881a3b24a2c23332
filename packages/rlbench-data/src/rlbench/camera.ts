import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DataError } from "../errors.js";
import { readPng, type RgbImage } from "../png.js";
import { scale24Bits } from "../png/kernels.js";
import { concatPointClouds, type PointCloud, unprojectDepth } from "../point-cloud.js";
import type { Episode } from "./episodes.js";
import type { CameraCalibration, LowDim } from "./low-dim.js";

/** Cameras that PerAct and its successors read. */
export const RLBENCH_CAMERAS: readonly string[] = ["front", "left_shoulder", "right_shoulder", "wrist"];

const MAX_IMAGE_SIDE = 8192;
const DEPTH_STEPS = 2 ** 24 - 1;

/** What one camera saw at one frame. */
export interface CameraFrame {
  width: number;
  height: number;
  /** RGB, 3 bytes a pixel, row-major. */
  rgb: Uint8Array;
  /** Distance along the optical axis in metres, [height, width]. */
  depth: Float32Array;
  calibration: CameraCalibration;
}

/** Names of the cameras of which an episode has colour images, sorted. */
export function listCameras(episode: Pick<Episode, "directory">): string[] {
  return readdirSync(episode.directory)
    .filter((name) => name.endsWith("_rgb"))
    .map((name) => name.slice(0, -"_rgb".length))
    .sort();
}

/**
 * Reads colour and depth of one camera at one frame. The image size must be twice the principal
 * point of the recorded intrinsics, which is how RLBench writes them.
 *
 * @throws DataError naming the missing folder, or the file that is missing, corrupt or of another size
 */
export function readCameraFrame(
  episode: Pick<Episode, "directory">,
  lowDim: LowDim,
  camera: string,
  frame: number,
): CameraFrame {
  const calibration = findCalibration(lowDim, camera, frame);
  const width = imageSide(calibration.intrinsics[2], camera, lowDim);
  const height = imageSide(calibration.intrinsics[5], camera, lowDim);
  const read = (kind: "rgb" | "depth"): RgbImage => {
    const folder = join(episode.directory, `${camera}_${kind}`);
    if (!existsSync(folder)) throw new DataError(folder, `the episode has no ${kind} images of camera "${camera}"`);
    return readPng(join(folder, `${frame}.png`), width, height);
  };
  const { data: rgb } = read("rgb");
  return { width, height, rgb, depth: decodeDepth(read("depth").data, calibration), calibration };
}

/**
 * World-frame point cloud of several cameras at one frame: every pixel of every camera, uncropped.
 *
 * @throws DataError as {@link readCameraFrame}
 */
export function readPointCloud(
  episode: Pick<Episode, "directory">,
  lowDim: LowDim,
  frame: number,
  cameras: readonly string[],
): PointCloud {
  return concatPointClouds(
    cameras.map((camera) =>
      cameraPointCloud(readCameraFrame(episode, lowDim, camera, frame), `${episode.directory} ${camera}`),
    ),
  );
}

/** World-frame point cloud of one camera: positions in metres, colours in [0, 1]. */
export function cameraPointCloud(view: CameraFrame, source: string): PointCloud {
  const positions = unprojectDepth(view.depth, view.width, view.height, view.calibration, source);
  const colors = new Float32Array(view.rgb.length);
  for (let i = 0; i < colors.length; i++) colors[i] = view.rgb[i] / 255;
  return { positions, colors };
}

/**
 * Depth in metres from RLBench's 24-bit depth images:
 * near + d (far - near) with d = (65536 R + 256 G + B) / (2^24 - 1).
 *
 * @param rgb 3 bytes a pixel
 */
export function decodeDepth(rgb: Uint8Array, { near, far }: Pick<CameraCalibration, "near" | "far">): Float32Array {
  return scale24Bits(rgb, near, (far - near) / DEPTH_STEPS);
}

/**
 * Inverse of {@link decodeDepth}: 3 bytes a pixel, rounded to the nearest of the 2^24 steps.
 *
 * @throws DataError when a depth is outside [near, far] or NaN
 */
export function encodeDepth(
  depth: ArrayLike<number>,
  { near, far }: Pick<CameraCalibration, "near" | "far">,
): Uint8Array {
  const rgb = new Uint8Array(3 * depth.length);
  for (let i = 0; i < depth.length; i++) {
    const steps = Math.round(((depth[i] - near) / (far - near)) * DEPTH_STEPS);
    if (!(steps >= 0 && steps <= DEPTH_STEPS))
      throw new DataError("depth", `pixel ${i} is ${depth[i]} m, expected ${near} to ${far} m`);
    rgb[3 * i] = steps >> 16;
    rgb[3 * i + 1] = (steps >> 8) & 0xff;
    rgb[3 * i + 2] = steps & 0xff;
  }
  return rgb;
}

function findCalibration(lowDim: LowDim, camera: string, frame: number): CameraCalibration {
  if (!lowDim.frames[frame])
    throw new DataError(lowDim.file, `has no frame ${frame}, only ${lowDim.frames.length} frames`);
  const calibration = lowDim.frames[frame].cameras.get(camera);
  if (!calibration) throw new DataError(lowDim.file, `frame ${frame} has no calibration of camera "${camera}"`);
  return calibration;
}

function imageSide(principalPoint: number, camera: string, lowDim: LowDim): number {
  const side = Math.round(2 * principalPoint);
  if (!(side >= 1 && side <= MAX_IMAGE_SIDE))
    throw new DataError(lowDim.file, `principal point ${principalPoint} of camera "${camera}" gives no image size`);
  return side;
}
