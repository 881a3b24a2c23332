import { describe, expect, test } from "vitest";
import {
  CounterRandom,
  DataError,
  pointCount,
  prepareRgbd,
  type RgbdImage,
  rgbdPointCloud,
  unprojectDepth,
} from "../src/index.js";

const WIDTH = 960;
const HEIGHT = 540;
const BOUNDS = { min: [-2, -2, -2], max: [2, 2, 2] } as const;

/** A camera 1 m above a table with a box on it, looking down; some pixels saw nothing and some see ghosts. */
function tableImage(): RgbdImage {
  const random = new CounterRandom(1);
  const depth = new Float32Array(WIDTH * HEIGHT).fill(1);
  const rgb = new Uint8Array(3 * WIDTH * HEIGHT).fill(100);
  for (let v = 200; v < 300; v++) depth.fill(0.9, v * WIDTH + 400, v * WIDTH + 500);
  for (let i = 0; i < depth.length; i++) {
    const kind = random.uniform();
    if (kind < 0.05) depth[i] = 0;
    else if (kind < 0.1) depth[i] = NaN;
    else if (kind < 0.1001) depth[i] = random.between(0.3, 0.7);
  }
  return {
    width: WIDTH,
    height: HEIGHT,
    rgb,
    depth,
    intrinsics: [600, 0, 480, 0, 600, 270, 0, 0, 1],
    extrinsics: [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 1, 0, 0, 0, 1],
  };
}

describe("a real camera", () => {
  const image = tableImage();
  const prepare = (seed: number, maxPoints?: number) =>
    prepareRgbd([image], { bounds: BOUNDS, tableHeight: null, maxPoints }, new CounterRandom(seed), "camera");

  test("960×540 pixels become at most 4000 points, the same for the same seed", () => {
    const cloud = prepare(1);
    expect(pointCount(cloud)).toBe(4000);
    expect(cloud.positions.every(Number.isFinite)).toBe(true);
    expect(cloud.colors.every((value) => Math.abs(value - 100 / 255) < 1e-6)).toBe(true);
    expect(prepare(1)).toEqual(cloud);
    expect(prepare(2)).not.toEqual(cloud);
    expect(pointCount(prepare(1, 10))).toBe(10);
  });

  test("pixels without depth are no points, ghosts are outliers, the table is a height", () => {
    const cloud = rgbdPointCloud(image, "camera");
    expect(pointCount(cloud)).toBe(image.depth.filter((value) => value > 0).length);
    const heights = prepare(1, 1e6).positions.filter((_, i) => i % 3 === 2);
    expect(heights.filter((height) => height > 0.2).length).toBeLessThan(5);
    const box = prepareRgbd([image], { bounds: BOUNDS, tableHeight: 0.05 }, new CounterRandom(1), "camera");
    const inside = box.positions.filter((_, i) => i % 3 === 2).filter((height) => Math.abs(height - 0.1) < 1e-3);
    expect(inside.length).toBeGreaterThan(150);
  });

  test("two cameras are fused", () => {
    const other = { ...image, extrinsics: [1, 0, 0, 1, 0, -1, 0, 0, 0, 0, -1, 1, 0, 0, 0, 1] };
    const options = { bounds: BOUNDS, tableHeight: null, maxPoints: 1e6 };
    const both = pointCount(prepareRgbd([image, other], options, new CounterRandom(1), "cameras"));
    expect(both).toBeGreaterThan(1.4 * pointCount(prepare(1, 1e6)));
  });

  test("what is no image, calibration or depth is refused by name", () => {
    const small: RgbdImage = { ...image, width: 2, height: 1, rgb: new Uint8Array(6), depth: Float32Array.of(1, 1) };
    const bad: [Partial<RgbdImage>, RegExp][] = [
      [{ rgb: new Uint8Array(5) }, /camera image 0\] colours have 5 bytes/],
      [{ depth: Float32Array.of(1) }, /depth has 1 pixels/],
      [{ depth: Float32Array.of(1, -1) }, /depth at pixel \(1, 0\) is -1/],
      [{ depth: Float32Array.of(Infinity, 1) }, /depth at pixel \(0, 0\) is Infinity/],
      [{ intrinsics: [0, 0, 1, 0, 600, 1, 0, 0, 1] }, /focal lengths are 0 and 600/],
      [{ intrinsics: [600] }, /9 finite numbers/],
      [{ extrinsics: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, NaN, 1, 0, 0, 0, 1] }, /16 finite numbers/],
      [{ extrinsics: [2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1] }, /no rotation: rows 0 and 0 .* 4/],
      [{ extrinsics: [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1] }, /no rotation: rows 0 and 1/],
      [{ extrinsics: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 2] }, /end in \[0, 0, 0, 2\]/],
      [{ depth: new Float32Array(2) }, /empty/],
    ];
    for (const [part, message] of bad) {
      const run = () => prepareRgbd([{ ...small, ...part }], { bounds: BOUNDS }, new CounterRandom(1), "camera");
      expect(run).toThrow(DataError);
      expect(run).toThrow(message);
    }
    expect(() => prepareRgbd([image], { maxPoints: 0 }, new CounterRandom(1), "camera")).toThrow(/maxPoints is 0/);
    const calibration = { intrinsics: new Float64Array(9).fill(1), extrinsics: new Float64Array(16) };
    expect(() => unprojectDepth(Float32Array.of(1), 1, 1, calibration, "view")).toThrow(/\[view\] extrinsics/);
  });
});
