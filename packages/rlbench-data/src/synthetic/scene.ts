import { CounterRandom } from "../random.js";
import type { Vector3 } from "../rotation.js";

/** Colours that spheres can have: name and RGB in [0, 1]. */
export const SPHERE_COLORS = {
  red: [0.9, 0.1, 0.1],
  green: [0.1, 0.75, 0.15],
  blue: [0.1, 0.2, 0.9],
  yellow: [0.95, 0.9, 0.1],
  magenta: [0.9, 0.1, 0.85],
  cyan: [0.1, 0.85, 0.9],
  orange: [1.0, 0.5, 0.05],
  white: [0.95, 0.95, 0.95],
} as const satisfies Record<string, Vector3>;

/** Name of a sphere's colour. */
export type SphereColor = keyof typeof SPHERE_COLORS;

/** A sphere resting on the table. */
export interface Sphere {
  /** Centre in metres, world frame. */
  position: [number, number, number];
  /** Metres. */
  radius: number;
  color: SphereColor;
}

/** A table with spheres, and the instruction to reach one of them. */
export interface ReachScene {
  spheres: Sphere[];
  /** Index of the sphere that the demonstrator reaches. */
  target: number;
  /** Colour that the instruction names. */
  color: SphereColor;
  instruction: string;
  /** Two spheres have the named colour; the demonstrator picks either. */
  ambiguous: boolean;
}

/** The table top: 0.6 × 0.6 m in the middle of RLBench's workspace, at its table's height. */
export const TABLE = { center: [0.2, 0, 0.75], size: [0.6, 0.6] } as const;

const MIN_RADIUS = 0.02;
const MAX_RADIUS = 0.025;
/** Between the surfaces of two spheres, in metres. */
const MIN_GAP = 0.06;
const EDGE_MARGIN = 0.05;
const AMBIGUOUS_EVERY = 10;

const PURPOSE = { scene: 11, ambiguity: 12 } as const;

/**
 * Scene `index` of a seed: 3 to 5 spheres of 2 to 2.5 cm radius, at least 6 cm between their
 * surfaces. Colours differ, except in one scene of ten, where two spheres have the named one.
 *
 * @param seed non-negative integer below 2^53
 * @param index non-negative integer
 */
export function makeReachScene(seed: number, index: number): ReachScene {
  const random = new CounterRandom(seed, [PURPOSE.scene, index, 0]);
  const phase = new CounterRandom(seed, [PURPOSE.ambiguity, 0, 0]).below(AMBIGUOUS_EVERY);
  const ambiguous = index % AMBIGUOUS_EVERY === phase;
  const count = 3 + random.below(3);
  const names = Object.keys(SPHERE_COLORS) as SphereColor[];
  const colors = Array.from(random.choose(names.length, count), (i) => names[i]);
  const named = random.below(count);
  const twin = (named + 1 + random.below(count - 1)) % count;
  if (ambiguous) colors[twin] = colors[named];
  const spheres: Sphere[] = [];
  while (spheres.length < count) {
    const sphere = placeSphere(random, colors[spheres.length]);
    if (spheres.every((other) => gap(sphere, other) >= MIN_GAP)) spheres.push(sphere);
  }
  const target = ambiguous && random.below(2) === 1 ? twin : named;
  return { spheres, target, color: colors[named], instruction: `reach the ${colors[named]} sphere`, ambiguous };
}

function placeSphere(random: CounterRandom, color: SphereColor): Sphere {
  const radius = random.between(MIN_RADIUS, MAX_RADIUS);
  const along = (axis: 0 | 1): number => {
    const half = TABLE.size[axis] / 2 - EDGE_MARGIN;
    return TABLE.center[axis] + random.between(-half, half);
  };
  return { position: [along(0), along(1), TABLE.center[2] + radius], radius, color };
}

function gap(a: Sphere, b: Sphere): number {
  const [dx, dy, dz] = [0, 1, 2].map((axis) => a.position[axis] - b.position[axis]);
  return Math.hypot(dx, dy, dz) - a.radius - b.radius;
}
