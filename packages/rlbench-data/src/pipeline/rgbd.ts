import { DataError } from "../errors.js";
import { concatPointClouds, pointCount, type PointCloud, takeRows, unprojectDepth } from "../point-cloud.js";
import type { CounterRandom } from "../random.js";
import type { LinkBox } from "../robot/link-box.js";
import { prepareCloud, type PrepareOptions } from "./prepare.js";

/** A colour image with depth, of a real camera. */
export interface RgbdImage {
  width: number;
  height: number;
  /** RGB, 3 bytes a pixel, [height, width, 3]. */
  rgb: Uint8Array;
  /** Metres along the optical axis, [height, width]; 0 or NaN where nothing was measured. */
  depth: Float32Array;
  /** Row-major 3×3. */
  intrinsics: ArrayLike<number>;
  /** Row-major 4×4, camera to world. */
  extrinsics: ArrayLike<number>;
}

/**
 * World-frame cloud of the pixels that have a depth.
 *
 * @param source name for error messages
 * @throws DataError when sizes do not agree, a depth is negative or infinite, or the calibration is none
 */
export function rgbdPointCloud(image: RgbdImage, source: string): PointCloud {
  const { width, height, rgb, depth } = image;
  if (rgb.length !== 3 * width * height)
    throw new DataError(source, `colours have ${rgb.length} bytes, expected 3 × ${width} × ${height}`);
  const measured = depth.map((value) => (Number.isNaN(value) ? 0 : value));
  const bad = measured.findIndex((value) => !(value >= 0 && value < Infinity));
  if (bad >= 0)
    throw new DataError(source, `depth at pixel (${bad % width}, ${Math.floor(bad / width)}) is ${depth[bad]}`);
  const all = unprojectDepth(measured, width, height, image, source);
  const count = measured.reduce((sum, value) => sum + Number(value > 0), 0);
  const cloud: PointCloud = { positions: new Float32Array(3 * count), colors: new Float32Array(3 * count) };
  for (let pixel = 0, at = 0; pixel < measured.length; pixel++) {
    if (measured[pixel] === 0) continue;
    for (let k = 3 * pixel; k < 3 * pixel + 3; k++, at++) {
      cloud.positions[at] = all[k];
      cloud.colors[at] = rgb[k] / 255;
    }
  }
  return cloud;
}

/** What {@link prepareRgbd} does beside {@link PrepareOptions}. */
export interface RgbdOptions extends PrepareOptions {
  /** Default 4000. */
  maxPoints?: number;
  /** Boxes around the robot's links, for `removeRobot`. */
  robot?: readonly LinkBox[];
}

/**
 * One cloud of at most `maxPoints` points of one or more cameras: fused, prepared as training data is
 * ({@link prepareCloud}), and down-sampled at random where it is still too large.
 *
 * Unless options say otherwise, statistical outliers are dropped. RLBench's workspace is hardly that of a real table:
 * give `bounds` and `tableHeight` of yours.
 *
 * @param source name for error messages
 * @throws DataError as {@link rgbdPointCloud} and {@link prepareCloud}
 */
export function prepareRgbd(
  images: readonly RgbdImage[],
  options: RgbdOptions,
  random: CounterRandom,
  source: string,
): PointCloud {
  const { maxPoints = 4000, robot, ...prepare } = options;
  if (!Number.isSafeInteger(maxPoints) || maxPoints < 1)
    throw new DataError(source, `maxPoints is ${maxPoints}, expected an integer of at least 1`);
  const fused = concatPointClouds(images.map((image, i) => rgbdPointCloud(image, `${source} image ${i}`)));
  const cloud = prepareCloud(fused, { outliers: "statistical", ...prepare }, source, robot);
  const n = pointCount(cloud);
  if (n <= maxPoints) return cloud;
  const indices = random.choose(n, maxPoints);
  const taken = { positions: new Float32Array(3 * maxPoints), colors: new Float32Array(3 * maxPoints) };
  takeRows(cloud.positions, indices, taken.positions);
  takeRows(cloud.colors, indices, taken.colors);
  return taken;
}
