import { expect, test } from "vitest";
import {
  CounterRandom,
  DataError,
  eulerToQuaternion,
  multiplyQuaternions,
  philox4x32,
  quaternionToEuler,
  quaternionToRotationBins,
  ROTATION_BINS,
  rotationBinDistance,
  rotationBinErrors,
  rotationBinsToQuaternion,
  rotationErrorDegrees,
  turnQuaternionAboutZ,
} from "../src/index.js";

const ROTATIONS = 5000;

function randomQuaternion(random: CounterRandom): [number, number, number, number] {
  // Shoemake's uniform rotation.
  const [u, v, w] = [random.uniform(), 2 * Math.PI * random.uniform(), 2 * Math.PI * random.uniform()];
  const [a, b] = [Math.sqrt(1 - u), Math.sqrt(u)];
  return [a * Math.sin(v), a * Math.cos(v), b * Math.sin(w), b * Math.cos(w)];
}

test("Philox4x32-10 known answers", () => {
  const out = new Uint32Array(4);
  philox4x32(out, 0, 0, 0, 0, 0, 0);
  expect([...out]).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  philox4x32(out, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff);
  expect([...out]).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
  philox4x32(out, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0);
  expect([...out]).toEqual([0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
});

test("Euler angles agree with scipy's", () => {
  const check = (quaternion: number[], euler: number[]): void => {
    const found = quaternionToEuler(quaternion);
    for (let axis = 0; axis < 3; axis++) expect(found[axis]).toBeCloseTo(euler[axis], 8);
  };
  check([0, 0, 0, 1], [0, 0, 0]);
  check([0.1, -0.2, 0.3, 0.9], [4.037710621, -26.238282544, 35.928502423]);
  check([-0.7539, 0.0239, -0.0637, -0.6535], [97.986436416, -7.312267973, 2.728537876]);
  check([0.5, 0.5, 0.5, -0.5], [-90.0, -90.0, 0.0]);
});

test("rotations survive the way to Euler angles and back", () => {
  const random = new CounterRandom(5);
  for (let i = 0; i < ROTATIONS; i++) {
    const quaternion = randomQuaternion(random);
    expect(rotationErrorDegrees(quaternion, eulerToQuaternion(quaternionToEuler(quaternion)))).toBeLessThan(1e-5);
  }
});

test("bins are in range, unique a rotation, and within 5.6 degrees of it", () => {
  const random = new CounterRandom(6);
  for (let i = 0; i < ROTATIONS; i++) {
    const quaternion = randomQuaternion(random);
    const bins = quaternionToRotationBins(quaternion);
    for (const bin of bins) expect(Number.isInteger(bin) && bin >= 0 && bin < ROTATION_BINS).toBe(true);
    expect(rotationBinErrors(quaternion)[0]).toBeLessThan(5.6);
    expect(quaternionToRotationBins(quaternion.map((x) => -3 * x))).toEqual(bins);
    expect(quaternionToRotationBins(rotationBinsToQuaternion(bins))).toEqual(bins);
  }
});

test.for([90, -90, 88, -88, 92])("gimbal lock near y = %i has one triple of bins", (y) => {
  const random = new CounterRandom(7);
  for (let i = 0; i < 500; i++) {
    const x = 5 * random.below(72) - 180;
    const z = 5 * random.below(72) - 180;
    const quaternion = eulerToQuaternion([x, y, z]);
    const bins = quaternionToRotationBins(quaternion);
    expect(bins[1]).toBe(y > 0 ? 54 : 18);
    expect(bins[2]).toBe(36);
    expect(rotationBinErrors(quaternion)[0]).toBeLessThan(2.1);
    // The same rotation, written with other angles and disturbed by rounding.
    const turn = random.between(-180, 180);
    const same = eulerToQuaternion([x + turn, y, z + Math.sign(y) * turn]);
    if (Math.abs(y) === 90) {
      expect(rotationErrorDegrees(quaternion, same)).toBeLessThan(1e-5);
      expect(quaternionToRotationBins(Float32Array.from(same))).toEqual(bins);
    }
  }
});

test("angles on either side of 180 degrees share a bin", () => {
  for (const x of [-180, -179.99, -177.6, 177.6, 179.99, 180])
    expect(quaternionToRotationBins(eulerToQuaternion([x, 0, 0]))[0]).toBe(0);
});

test("bin distance goes the short way round", () => {
  expect(rotationBinDistance([0, 36, 71], [71, 35, 0])).toEqual([1, 1, 1]);
  expect(rotationBinDistance([0, 0, 0], [36, 37, 35])).toEqual([36, 35, 35]);
});

test("rotation error", () => {
  const half = Math.PI / 360;
  for (const degrees of [0, 1e-4, 3, 90, 179])
    expect(rotationErrorDegrees([0, 0, 0, 1], [0, Math.sin(degrees * half), 0, Math.cos(degrees * half)])).toBeCloseTo(
      degrees,
      9,
    );
  expect(rotationErrorDegrees([0, 0, 0, 2], [0, 0, 0, -1])).toBe(0);
  for (const bad of [
    [0, 0, 0, 0],
    [NaN, 0, 0, 1],
    [Infinity, 0, 0, 0],
  ])
    expect(() => rotationErrorDegrees([0, 0, 0, 1], bad)).toThrow(DataError);
});

test("turning about z adds to the z angle", () => {
  const turned = turnQuaternionAboutZ(eulerToQuaternion([10, 20, 30]), 25);
  expect(rotationErrorDegrees(turned, eulerToQuaternion([10, 20, 55]))).toBeLessThan(1e-6);
  const [x, y, z, w] = multiplyQuaternions([0, 0, Math.SQRT1_2, Math.SQRT1_2], [0, 0, Math.SQRT1_2, Math.SQRT1_2]);
  expect([x, y, z]).toEqual([0, 0, expect.closeTo(1)]);
  expect(w).toBeCloseTo(0);
});
