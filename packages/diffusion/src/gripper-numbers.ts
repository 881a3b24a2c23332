// Position, the first two columns of the rotation matrix (Zhou et al., 2019: continuous, and q and -q agree), opening.
export function gripperNumbers(proprio: Float32Array, size: number): Float32Array {
  const out = new Float32Array(size * 10);
  for (let i = 0; i < size; i++) {
    const [x, y, z, qx, qy, qz, qw, open] = proprio.subarray(8 * i, 8 * i + 8) as unknown as number[];
    const first = [1 - 2 * (qy! * qy! + qz! * qz!), 2 * (qx! * qy! + qz! * qw!), 2 * (qx! * qz! - qy! * qw!)];
    const second = [2 * (qx! * qy! - qz! * qw!), 1 - 2 * (qx! * qx! + qz! * qz!), 2 * (qy! * qz! + qx! * qw!)];
    out.set([x!, y!, z!, ...first, ...second, open!], 10 * i);
  }
  return out;
}
