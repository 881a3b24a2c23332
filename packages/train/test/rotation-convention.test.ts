import { rotation6dOfBins, rotation6dOfQuaternions, rotation6dToBins } from "@md/diffusion";
import { eulerToQuaternion, quaternionToRotationBins, rotationBinsToQuaternion } from "@md/rlbench-data";
import { mulberry32 } from "@md/tensor";
import { expect, test } from "vitest";

const random = mulberry32(3);
const angle = (range: number): number => range * (2 * random() - 1);

// A third of them at most 3° from ±90° about y, where x and z are one turn.
const quaternions = Array.from({ length: 3000 }, (_, i) =>
  eulerToQuaternion([angle(180), i % 3 === 0 ? 90 * Math.sign(angle(1)) + angle(3) : angle(89), angle(180)]),
);

test("rotations have the bins of the data, by way of their columns", () => {
  const columns = rotation6dOfQuaternions(Float32Array.from(quaternions.flat()));
  expect(rotation6dToBins(columns)).toEqual(Int32Array.from(quaternions.flatMap((q) => quaternionToRotationBins(q))));
});

test("bins have the columns of their centres", () => {
  const bins = Array.from({ length: 600 }, () => Math.floor(72 * random()));
  const centres = Array.from({ length: 200 }, (_, i) => rotationBinsToQuaternion(bins.slice(3 * i, 3 * i + 3)));
  const expected = rotation6dOfQuaternions(Float32Array.from(centres.flat()));
  rotation6dOfBins(Int32Array.from(bins)).forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 6));
});
