import { mulberry32, ValueError } from "@md/tensor";
import { expect, test } from "vitest";
import { rotation6dOfBins, rotation6dOfQuaternions, rotation6dToBins, rotation6dToQuaternions } from "../src/index.js";

test("a quarter turn about z has the columns and bins of one", () => {
  const half = Math.SQRT1_2;
  const columns = rotation6dOfQuaternions(Float32Array.of(0, 0, half, half));
  [0, 1, 0, -1, 0, 0].forEach((value, i) => expect(columns[i]).toBeCloseTo(value, 6));
  expect([...rotation6dToBins(columns)]).toEqual([36, 36, 54]);
});

test("quaternions of any length and sign are one rotation", () => {
  const columns = rotation6dOfQuaternions(Float32Array.of(0.1, -0.5, 0.3, 0.8, -0.2, 1, -0.6, -1.6));
  columns.subarray(0, 6).forEach((value, i) => expect(columns[6 + i]).toBeCloseTo(value, 6));
});

test("bins come back from the columns of their centres", () => {
  for (let y = 18; y <= 54; y++) {
    // At ±90° about y all of the turn is in x.
    const locked = y === 18 || y === 54;
    for (let x = 0; x < 72; x += 5)
      for (let z = locked ? 36 : 0; z < (locked ? 37 : 72); z += 7)
        expect([...rotation6dToBins(rotation6dOfBins(Int32Array.of(x, y, z)))]).toEqual([x, y, z]);
  }
});

test("columns need neither length 1 nor a right angle", () => {
  const random = mulberry32(4);
  const bins = Int32Array.from({ length: 300 }, (_, i) => (i % 3 === 1 ? 19 + 35 * random() : 72 * random()));
  const columns = rotation6dOfBins(bins);
  const skewed = columns.map((value, i) => {
    const first = columns[6 * Math.floor(i / 6) + (i % 3)]!;
    return i % 6 < 3 ? 0.3 * value : 2 * value + 0.7 * first;
  });
  expect(rotation6dToBins(skewed)).toEqual(bins);
  expect(rotation6dToBins(columns.map((value) => -value))).not.toEqual(bins);
});

test("quaternions come back from their columns, whichever of their numbers is the largest", () => {
  const random = mulberry32(6);
  // Four turns about single numbers, then any.
  const quaternions = Float32Array.from({ length: 400 }, (_, i) => (i < 16 ? Number(i % 5 === 0) : 2 * random() - 1));
  const columns = rotation6dOfQuaternions(quaternions);
  const found = rotation6dToQuaternions(columns);
  for (let i = 0; i < 100; i++) {
    const own = quaternions.subarray(4 * i, 4 * i + 4);
    const scale = Math.hypot(...own) * (own[3]! < 0 ? -1 : 1);
    if (own[3] !== 0) own.forEach((value, k) => expect(found[4 * i + k]).toBeCloseTo(value / scale, 5));
  }
  rotation6dOfQuaternions(found).forEach((value, i) => expect(Math.abs(value - columns[i]!)).toBeLessThan(1e-6));
  const scaled = rotation6dToQuaternions(columns.map((value) => 3 * value));
  scaled.forEach((value, i) => expect(Math.abs(value - found[i]!)).toBeLessThan(1e-6));
});

test("columns that are no rotation still have bins, those of one along the first column", () => {
  const bins = (...columns: number[]): number[] => [...rotation6dToBins(Float32Array.from(columns))];
  expect(bins(0, 0, 0, 0, 0, 0)).toEqual([36, 36, 36]);
  expect(bins(0, 1, 0, 0, 2, 0)).toEqual([54, 36, 54]);
  expect(bins(1, 1, 1, 1, 1, 1)).toEqual(bins(1, 1, 1, 0, 1, 0));
});

test("what is no rotation is refused", () => {
  expect(() => rotation6dOfQuaternions(Float32Array.of(0, 0, 0, 1, 0, 0, 0, 0))).toThrow(ValueError);
  expect(() => rotation6dOfQuaternions(Float32Array.of(0, 0, 0, 1, 0, 0, 0, 0))).toThrow(
    /quaternion 1 is \[0, 0, 0, 0\]/,
  );
  for (const wrong of [-1, 72])
    expect(() => rotation6dOfBins(Int32Array.of(0, 0, wrong))).toThrow(`bin ${wrong} at item 2, expected 0 to 71`);
});
