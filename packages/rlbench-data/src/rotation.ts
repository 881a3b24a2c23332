import { DataError } from "./errors.js";

/** Rotation bins an axis. */
export const ROTATION_BINS = 72;
/** Width of a rotation bin, in degrees. */
export const ROTATION_BIN_DEGREES = 360 / ROTATION_BINS;

const DEGREES = 180 / Math.PI;
const GIMBAL_LOCK = 1e-7;
const BIN_OF_0 = ROTATION_BINS / 2;
const BIN_OF_PLUS_90 = (ROTATION_BINS * 3) / 4;
const BIN_OF_MINUS_90 = ROTATION_BINS / 4;

/** Quaternion x, y, z, w (scalar last, as in RLBench and scipy). */
export type Quaternion = readonly [number, number, number, number];
/** Three numbers, one an axis. */
export type Vector3 = readonly [number, number, number];

/**
 * Extrinsic xyz Euler angles in degrees, R = Rz(z) Ry(y) Rx(x), with x and z in (-180, 180] and y in
 * [-90, 90]: scipy's `as_euler("xyz", degrees=True)`. In gimbal lock (|y| = 90) z is set to 0.
 *
 * @param quaternion xyzw, of any positive length
 * @throws DataError when it is zero or not finite
 */
export function quaternionToEuler(quaternion: ArrayLike<number>): [number, number, number] {
  const [x, y, z, w] = normalizeQuaternion(quaternion);
  const r00 = 1 - 2 * (y * y + z * z);
  const r10 = 2 * (x * y + z * w);
  const r20 = 2 * (x * z - y * w);
  const r11 = 1 - 2 * (x * x + z * z);
  const r12 = 2 * (y * z - x * w);
  const r21 = 2 * (y * z + x * w);
  const r22 = 1 - 2 * (x * x + y * y);
  const cosY = Math.hypot(r00, r10);
  const angleY = Math.atan2(-r20, cosY) * DEGREES;
  if (cosY < GIMBAL_LOCK) return [Math.atan2(-r12, r11) * DEGREES, angleY, 0];
  return [Math.atan2(r21, r22) * DEGREES, angleY, Math.atan2(r10, r00) * DEGREES];
}

/** Unit quaternion xyzw of extrinsic xyz Euler angles in degrees; see {@link quaternionToEuler}. */
export function eulerToQuaternion(euler: ArrayLike<number>): [number, number, number, number] {
  const [cx, cy, cz] = [0, 1, 2].map((axis) => Math.cos(euler[axis] / DEGREES / 2));
  const [sx, sy, sz] = [0, 1, 2].map((axis) => Math.sin(euler[axis] / DEGREES / 2));
  return [
    sx * cy * cz - cx * sy * sz,
    cx * sy * cz + sx * cy * sz,
    cx * cy * sz - sx * sy * cz,
    cx * cy * cz + sx * sy * sz,
  ];
}

/**
 * The 5° bins of a rotation, one of 72 an Euler axis: round((angle + 180) / 5), where 72 wraps to 0
 * (PerAct's `quaternion_to_discrete_euler`), so bin b is centred on 5 b - 180 degrees.
 *
 * Where y falls into the bin of +90° or -90°, x and z turn about (nearly) the same axis and only
 * their difference or sum means anything. There z gets the bin of 0° and x the whole turn, so that
 * one rotation has one triple of bins.
 */
export function quaternionToRotationBins(quaternion: ArrayLike<number>): [number, number, number] {
  const [x, y, z] = quaternionToEuler(quaternion);
  const binY = angleToBin(y);
  if (binY === BIN_OF_PLUS_90) return [angleToBin(x - z), binY, BIN_OF_0];
  if (binY === BIN_OF_MINUS_90) return [angleToBin(x + z), binY, BIN_OF_0];
  return [angleToBin(x), binY, angleToBin(z)];
}

/** Unit quaternion xyzw of the bins' centres. */
export function rotationBinsToQuaternion(bins: ArrayLike<number>): [number, number, number, number] {
  return eulerToQuaternion([0, 1, 2].map((axis) => bins[axis] * ROTATION_BIN_DEGREES - 180));
}

/** Bins between two triples, axis by axis, the short way round (bins 0 and 71 are 1 apart). */
export function rotationBinDistance(a: ArrayLike<number>, b: ArrayLike<number>): [number, number, number] {
  const distance = (axis: number): number => {
    const apart = Math.abs(a[axis] - b[axis]) % ROTATION_BINS;
    return Math.min(apart, ROTATION_BINS - apart);
  };
  return [distance(0), distance(1), distance(2)];
}

/** Angle of the rotation between two orientations, in degrees, in [0, 180]. */
export function rotationErrorDegrees(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [ax, ay, az, aw] = normalizeQuaternion(a);
  const [x, y, z, w] = multiplyQuaternions([-ax, -ay, -az, aw], normalizeQuaternion(b));
  return 2 * Math.atan2(Math.hypot(x, y, z), Math.abs(w)) * DEGREES;
}

/**
 * What 5° bins alone cost: for each quaternion of [n, 4] the degrees between it and the centre of its
 * own bins. No policy that classifies bins can do better on these targets; the worst case over all
 * rotations is below 5.6°.
 */
export function rotationBinErrors(quaternions: ArrayLike<number>): Float64Array {
  return Float64Array.from({ length: quaternions.length / 4 }, (_, i) => {
    const quaternion = [0, 1, 2, 3].map((k) => quaternions[4 * i + k]);
    return rotationErrorDegrees(quaternion, rotationBinsToQuaternion(quaternionToRotationBins(quaternion)));
  });
}

/** Hamilton product: the rotation `b` followed by the rotation `a`. */
export function multiplyQuaternions(a: Quaternion, b: Quaternion): [number, number, number, number] {
  const [ax, ay, az, aw] = a;
  const [bx, by, bz, bw] = b;
  return [
    aw * bx + ax * bw + ay * bz - az * by,
    aw * by - ax * bz + ay * bw + az * bx,
    aw * bz + ax * by - ay * bx + az * bw,
    aw * bw - ax * bx - ay * by - az * bz,
  ];
}

/** `quaternion` (xyzw) turned about the world's z axis by `degrees`. */
export function turnQuaternionAboutZ(quaternion: ArrayLike<number>, degrees: number): [number, number, number, number] {
  const half = degrees / DEGREES / 2;
  const [x, y, z, w] = [0, 1, 2, 3].map((k) => quaternion[k]);
  return multiplyQuaternions([0, 0, Math.sin(half), Math.cos(half)], [x, y, z, w]);
}

function angleToBin(degrees: number): number {
  const bin = Math.round((degrees + 180) / ROTATION_BIN_DEGREES) % ROTATION_BINS;
  return bin < 0 ? bin + ROTATION_BINS : bin;
}

function normalizeQuaternion(quaternion: ArrayLike<number>): [number, number, number, number] {
  const length = Math.hypot(quaternion[0], quaternion[1], quaternion[2], quaternion[3]);
  if (!(length > 1e-6 && length < Infinity))
    throw new DataError("quaternion", `[${Array.from(quaternion).join(", ")}] is no rotation`);
  return [quaternion[0] / length, quaternion[1] / length, quaternion[2] / length, quaternion[3] / length];
}
