import { quaternionColumns } from "./rotation.js";

// Position, the first two columns of the rotation matrix, opening.
export function gripperNumbers(proprio: Float32Array, size: number): Float32Array {
  const out = new Float32Array(size * 10);
  for (let i = 0; i < size; i++) {
    const [x, y, z, qx, qy, qz, qw, open] = proprio.subarray(8 * i, 8 * i + 8) as unknown as number[];
    const [first, second] = quaternionColumns(qx!, qy!, qz!, qw!);
    out.set([x!, y!, z!, ...first, ...second, open!], 10 * i);
  }
  return out;
}
