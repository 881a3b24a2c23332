import { multiplyQuaternions, type Quaternion, type Vector3 } from "../rotation.js";

/** Where a frame lies in another one. */
export interface Pose {
  /** Metres. */
  position: Vector3;
  /** Unit quaternion xyzw. */
  quaternion: Quaternion;
}

/** `inner`, given in the frame of `outer`, in the frame that `outer` is given in. */
export function composePoses(outer: Pose, inner: Pose): Pose {
  const [x, y, z] = rotateVector(outer.quaternion, inner.position);
  const [px, py, pz] = outer.position;
  return {
    position: [px + x, py + y, pz + z],
    quaternion: multiplyQuaternions(outer.quaternion, inner.quaternion),
  };
}

/** A vector turned by a unit quaternion. */
export function rotateVector(quaternion: Quaternion, vector: Vector3): Vector3 {
  const m = rotationMatrix(quaternion);
  const row = (i: number): number => m[i] * vector[0] + m[i + 1] * vector[1] + m[i + 2] * vector[2];
  return [row(0), row(3), row(6)];
}

/** Row-major 3×3 matrix of a unit quaternion. */
export function rotationMatrix([x, y, z, w]: Quaternion): readonly number[] {
  return [
    1 - 2 * (y * y + z * z),
    2 * (x * y - z * w),
    2 * (x * z + y * w),
    2 * (x * y + z * w),
    1 - 2 * (x * x + z * z),
    2 * (y * z - x * w),
    2 * (x * z - y * w),
    2 * (y * z + x * w),
    1 - 2 * (x * x + y * y),
  ];
}
