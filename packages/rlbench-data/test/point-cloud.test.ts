import { expect, test } from "vitest";
import {
  concatPointClouds,
  CounterRandom,
  cropToBounds,
  DataError,
  pointCount,
  type PointCloud,
  removeTable,
  samplePoints,
  voxelDownsample,
} from "../src/index.js";

function cloudOf(...points: [number, number, number][]): PointCloud {
  return {
    positions: Float32Array.from(points.flat()),
    colors: Float32Array.from(points.flatMap((_, i) => [i, 0, 1])),
  };
}

test("crop keeps the box's faces, table removal what is above", () => {
  const cloud = cloudOf([0, 0, 0], [1, 1, 1], [1.5, 0, 0], [0, -0.1, 0], [0.5, 0.5, NaN]);
  expect([...cropToBounds(cloud, { min: [0, 0, 0], max: [1, 1, 1] }).colors]).toEqual([0, 0, 1, 1, 0, 1]);
  expect([...removeTable(cloud, 0).positions]).toEqual([1, 1, 1]);
  expect(pointCount(concatPointClouds([cloud, cloud]))).toBe(10);
});

test("voxels floor towards minus infinity and average", () => {
  const cloud = cloudOf([-0.001, 0, 0], [0.001, 0, 0], [-0.009, 0.002, 0.004], [0.015, 0, 0]);
  const reduced = voxelDownsample(cloud, 0.01);
  expect(pointCount(reduced)).toBe(3);
  expect([...reduced.positions].map((value) => Number(value.toFixed(6)))).toEqual([
    -0.005, 0.001, 0.002, 0.001, 0, 0, 0.015, 0, 0,
  ]);
  expect([...reduced.colors]).toEqual([1, 0, 1, 1, 0, 1, 3, 0, 1]);
});

test("voxels agree with a plain map on many points", () => {
  const random = new CounterRandom(3);
  const cloud = cloudOf(
    ...Array.from({ length: 20_000 }, (): [number, number, number] => [
      random.between(-2, 2),
      random.between(-2, 2),
      random.between(-0.2, 0.2),
    ]),
  );
  const expected = new Map<string, number[]>();
  for (let i = 0; i < pointCount(cloud); i++) {
    const point = [...cloud.positions.subarray(3 * i, 3 * i + 3)];
    const key = point.map((value) => Math.floor(value / 0.05)).join();
    const sum = expected.get(key) ?? [0, 0, 0, 0];
    expected.set(key, [...point.map((value, axis) => sum[axis] + value), sum[3] + 1]);
  }
  const means = [...expected.values()].flatMap(([x, y, z, n]) => [x / n, y / n, z / n]);
  expect(voxelDownsample(cloud, 0.05).positions).toEqual(Float32Array.from(means));
});

test("voxels refuse points without a cell", () => {
  for (const bad of [NaN, Infinity, 1e9, -1e9])
    expect(() => voxelDownsample(cloudOf([0, bad, 0]), 0.01)).toThrow(DataError);
  for (const size of [0, -1, NaN, Infinity]) expect(() => voxelDownsample(cloudOf([0, 0, 0]), size)).toThrow(DataError);
  expect(pointCount(voxelDownsample(cloudOf(), 0.01))).toBe(0);
});

test("point sampling", () => {
  const draw = (available: number, count: number, seed = 1): number[] => [
    ...samplePoints(available, count, new CounterRandom(seed)),
  ];
  expect(new Set(draw(100, 50)).size).toBe(50);
  expect(draw(100, 100).sort((a, b) => a - b)).toEqual([...Array(100).keys()]);
  const more = draw(10, 25);
  expect(more).toHaveLength(25);
  expect(new Set(more).size).toBe(10);
  expect(draw(100, 50)).toEqual(draw(100, 50));
  expect(draw(100, 50)).not.toEqual(draw(100, 50, 2));
  expect(() => draw(0, 5)).toThrow(/empty/);
});
