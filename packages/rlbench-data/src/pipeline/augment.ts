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

  /** Moves the point at `source[from]` to `target[to]`. */
  movePoint(source: ArrayLike<number>, from: number, target: Float32Array | number[], to: number): void {
    const x = source[from] - this.center[0];
    const y = source[from + 1] - this.center[1];
    target[to] = this.cos * x - this.sin * y + this.center[0] + this.shift[0];
    target[to + 1] = this.sin * x + this.cos * y + this.center[1] + this.shift[1];
    target[to + 2] = source[from + 2] + this.shift[2];
  }

  moveGripper({ position, quaternion, open }: GripperState): GripperState {
    const moved: [number, number, number] = [0, 0, 0];
    this.movePoint(position, 0, moved, 0);
    return { position: moved, quaternion: turnQuaternionAboutZ(quaternion, this.degrees), open };
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
