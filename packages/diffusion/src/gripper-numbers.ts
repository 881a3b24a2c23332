import { rotation6dOfQuaternions } from "./rotation.js";

/** [size, 8] of an observation's `proprio` to position, first two columns of the rotation matrix and opening, [size, 10]. */
export function gripperNumbers(proprio: Float32Array, size: number): Float32Array {
  const out = new Float32Array(size * 10);
  for (let i = 0; i < size; i++) {
    const row = proprio.subarray(8 * i, 8 * i + 8);
    out.set(row.subarray(0, 3), 10 * i);
    out.set(rotation6dOfQuaternions(row.subarray(3, 7)), 10 * i + 3);
    out[10 * i + 9] = row[7]!;
  }
  return out;
}
