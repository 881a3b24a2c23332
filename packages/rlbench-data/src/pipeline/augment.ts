import type { GripperState } from "../demonstration.js";
import type { CounterRandom } from "../random.js";
import { turnQuaternionAboutZ, type Vector3 } from "../rotation.js";

/** A turn about the vertical axis through a centre, then a shift: of points and poses together. */
export class SceneMotion {
  private readonly cos: number;
  private readonly sin: number;

  constructor(
    private readonly degrees: number,
    private readonly shift: Vector3,
    private readonly center: Vector3,
  ) {
    this.cos = Math.cos((degrees * Math.PI) / 180);
    this.sin = Math.sin((degrees * Math.PI) / 180);
  }

  /**
   * The moved points of these indices.
   *
   * @param positions [n, 3]
   * @param moved where they go, [indices, 3]
   */
  movePoints(positions: Float32Array, indices: Int32Array, moved: Float32Array): void {
    const { cos, sin } = this;
    const [centerX, centerY] = this.center;
    const [shiftX, shiftY, shiftZ] = this.shift;
    for (let i = 0, to = 0; i < indices.length; i++, to += 3) {
      const from = 3 * indices[i];
      const x = positions[from] - centerX;
      const y = positions[from + 1] - centerY;
      moved[to] = cos * x - sin * y + centerX + shiftX;
      moved[to + 1] = sin * x + cos * y + centerY + shiftY;
      moved[to + 2] = positions[from + 2] + shiftZ;
    }
  }

  moveGripper({ position, quaternion, open }: GripperState): GripperState {
    const x = position[0] - this.center[0];
    const y = position[1] - this.center[1];
    return {
      position: [
        this.cos * x - this.sin * y + this.center[0] + this.shift[0],
        this.sin * x + this.cos * y + this.center[1] + this.shift[1],
        position[2] + this.shift[2],
      ],
      quaternion: turnQuaternionAboutZ(quaternion, this.degrees),
      open,
    };
  }
}

/** Steps an axis of the noise of {@link jitterPoints}. */
const JITTER_STEPS = 1024;

/**
 * Moves each point by up to `range` metres either way an axis, uniformly in 1024 steps; poses stay. In place.
 *
 * @param positions [n, 3]
 */
export function jitterPoints(positions: Float32Array, range: number, random: CounterRandom): void {
  const step = (2 * range) / JITTER_STEPS;
  const offset = step / 2 - range;
  for (let i = 0; i < positions.length; i += 3) {
    const bits = random.uint32();
    positions[i] += (bits & 1023) * step + offset;
    positions[i + 1] += ((bits >>> 10) & 1023) * step + offset;
    positions[i + 2] += ((bits >>> 20) & 1023) * step + offset;
  }
}
