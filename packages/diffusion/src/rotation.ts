import { ValueError } from "@md/tensor";

/** 5° bins an axis of Euler angles. */
export const ROTATION_BINS = 72;

const BIN_RADIANS = (2 * Math.PI) / ROTATION_BINS;
const HALF_TURN = ROTATION_BINS / 2;
const QUARTER_TURN = ROTATION_BINS / 4;
const GIMBAL_LOCK = 1e-7;
const LEAST_LENGTH = 1e-8;

type Vector3 = readonly [number, number, number];

/** First and second column of the rotation matrix of a unit quaternion. */
function quaternionColumns(x: number, y: number, z: number, w: number): readonly [Vector3, Vector3] {
  return [
    [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)],
    [2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)],
  ];
}

/**
 * Rotations as the first two columns of their matrix, all in [-1, 1] (Zhou et al., "On the Continuity of Rotation
 * Representations", 2019: continuous, and q and -q agree).
 *
 * @param quaternions xyzw, of any length but 0, [n, 4]
 * @returns first column, second column, [n, 6]
 * @throws ValueError for a quaternion that is zero
 */
export function rotation6dOfQuaternions(quaternions: Float32Array): Float32Array {
  const out = new Float32Array((quaternions.length / 4) * 6);
  for (let i = 0; i < quaternions.length / 4; i++) {
    const [x, y, z, w] = quaternions.subarray(4 * i, 4 * i + 4) as unknown as [number, number, number, number];
    const length = Math.hypot(x, y, z, w);
    if (!(length > LEAST_LENGTH))
      throw new ValueError(`[rotation6d] quaternion ${i} is [${x}, ${y}, ${z}, ${w}], expected a length above 0`);
    const [first, second] = quaternionColumns(x / length, y / length, z / length, w / length);
    out.set([...first, ...second], 6 * i);
  }
  return out;
}

/**
 * As {@link rotation6dOfQuaternions}, of the centres of 5° bins: bin b is the angle 5 b - 180 degrees, R = Rz Ry Rx.
 *
 * @param bins of x, y, z, [n, 3]
 * @throws ValueError for a bin that is not one of 0 … 71
 */
export function rotation6dOfBins(bins: Int32Array): Float32Array {
  const wrong = bins.findIndex((bin) => !(bin >= 0 && bin < ROTATION_BINS));
  if (wrong >= 0) {
    throw new ValueError(`[rotation6d] bin ${bins[wrong]} at item ${wrong}, expected 0 to ${ROTATION_BINS - 1}`);
  }
  const out = new Float32Array(bins.length * 2);
  for (let i = 0; i < bins.length / 3; i++) {
    const angles = Array.from(bins.subarray(3 * i, 3 * i + 3), (bin) => (bin - HALF_TURN) * BIN_RADIANS);
    const [sx, sy, sz] = angles.map(Math.sin) as [number, number, number];
    const [cx, cy, cz] = angles.map(Math.cos) as [number, number, number];
    const second = [cz * sy * sx - sz * cx, sz * sy * sx + cz * cx, cy * sx];
    out.set([cz * cy, sz * cy, -sy, ...second], 6 * i);
  }
  return out;
}

/**
 * The 5° bins of rotations whose two columns may be of any length and at any angle: Gram-Schmidt makes them a rotation
 * (Zhou et al., 2019), then the convention is that of `quaternionToRotationBins` in `@md/rlbench-data`. A column that
 * says nothing, being zero or along the other, is replaced by one across.
 *
 * @param columns [n, 6]
 * @returns bins of x, y, z, 0 … 71, [n, 3]
 */
export function rotation6dToBins(columns: Float32Array): Int32Array {
  const out = new Int32Array(columns.length / 2);
  matricesOf(columns).forEach((matrix, i) => out.set(eulerBins(matrix), 3 * i));
  return out;
}

/**
 * The same rotations as {@link rotation6dToBins} takes, exactly.
 *
 * @param columns [n, 6]
 * @returns unit quaternions xyzw, w at least 0, [n, 4]
 */
export function rotation6dToQuaternions(columns: Float32Array): Float32Array {
  const out = new Float32Array((columns.length / 6) * 4);
  matricesOf(columns).forEach((matrix, i) => out.set(quaternionOf(matrix), 4 * i));
  return out;
}

/** A rotation matrix by its columns. */
type Matrix = readonly [Vector3, Vector3, Vector3];

function matricesOf(columns: Float32Array): Matrix[] {
  return Array.from({ length: columns.length / 6 }, (_, i) => {
    const [ax, ay, az, bx, by, bz] = columns.subarray(6 * i, 6 * i + 6) as unknown as number[];
    const first = normalized([ax!, ay!, az!]) ?? [1, 0, 0];
    const second = across([bx!, by!, bz!], first) ?? across([0, 1, 0], first) ?? across([0, 0, 1], first)!;
    return [first, second, cross(first, second)];
  });
}

// Shepperd's method: from the largest of the four squares, so that nothing is divided by a small number.
function quaternionOf([[m00, m10, m20], [m01, m11, m21], [m02, m12, m22]]: Matrix): readonly number[] {
  const squares = [1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22, 1 + m00 + m11 + m22];
  const largest = squares.indexOf(Math.max(...squares));
  const rows = [
    [squares[0]!, m01 + m10, m02 + m20, m21 - m12],
    [m01 + m10, squares[1]!, m12 + m21, m02 - m20],
    [m02 + m20, m12 + m21, squares[2]!, m10 - m01],
    [m21 - m12, m02 - m20, m10 - m01, squares[3]!],
  ];
  const quaternion = rows[largest]!;
  const length = Math.hypot(...quaternion) * (quaternion[3]! < 0 ? -1 : 1);
  return quaternion.map((value) => value / length);
}

// Where y is at ±90° only the difference or sum of x and z means anything; it goes into x.
function eulerBins([first, second, [, r12, r22]]: Matrix): Vector3 {
  const cosY = Math.hypot(first[0], first[1]);
  const locked = cosY < GIMBAL_LOCK;
  const x = locked ? Math.atan2(-r12, second[1]) : Math.atan2(second[2], r22);
  const y = Math.atan2(-first[2], cosY);
  const z = locked ? 0 : Math.atan2(first[1], first[0]);
  const binY = binOf(y);
  if (binY === HALF_TURN + QUARTER_TURN) return [binOf(x - z), binY, HALF_TURN];
  if (binY === HALF_TURN - QUARTER_TURN) return [binOf(x + z), binY, HALF_TURN];
  return [binOf(x), binY, binOf(z)];
}

function binOf(angle: number): number {
  const bin = (Math.round(angle / BIN_RADIANS) + HALF_TURN) % ROTATION_BINS;
  return bin < 0 ? bin + ROTATION_BINS : bin;
}

function normalized([x, y, z]: Vector3): Vector3 | null {
  const length = Math.hypot(x, y, z);
  return length > LEAST_LENGTH ? [x / length, y / length, z / length] : null;
}

const cross = ([ax, ay, az]: Vector3, [bx, by, bz]: Vector3): Vector3 => [
  ay * bz - az * by,
  az * bx - ax * bz,
  ax * by - ay * bx,
];

// The part of `vector` across the unit vector `axis`, of length 1; null where there is none.
function across(vector: Vector3, axis: Vector3): Vector3 | null {
  const unit = normalized(vector);
  if (!unit) return null;
  const along = unit[0] * axis[0] + unit[1] * axis[1] + unit[2] * axis[2];
  return normalized([unit[0] - along * axis[0], unit[1] - along * axis[1], unit[2] - along * axis[2]]);
}
