import type { CameraFrame } from "../rlbench/camera.js";
import type { CameraCalibration } from "../rlbench/low-dim.js";
import type { Vector3 } from "../rotation.js";
import { type ReachScene, type Sphere, SPHERE_COLORS, TABLE } from "./scene.js";

/** Width and height of the images. */
export const SYNTHETIC_IMAGE_SIZE = 128;

const FIELD_OF_VIEW = (46 * Math.PI) / 180;
const NEAR = 0.01;
const FAR = 4.5;
const TABLE_COLOR: Vector3 = [0.55, 0.48, 0.4];
const BACKGROUND_COLOR: Vector3 = [0.7, 0.75, 0.8];
const LIGHT: Vector3 = [0.25, 0.15, 0.9567];
const AMBIENT = 0.7;

/** The cameras of synthetic scenes: three that look at the table from 45°, named as RLBench's. */
export const SYNTHETIC_CAMERAS: ReadonlyMap<string, CameraCalibration> = new Map([
  ["front", lookAt([0.95, 0, 1.5], TABLE.center)],
  ["left_shoulder", lookAt([-0.175, 0.65, 1.5], TABLE.center)],
  ["right_shoulder", lookAt([-0.175, -0.65, 1.5], TABLE.center)],
]);

/** Ray-casts what a camera sees of a scene; rays that miss everything end at the far plane. */
export function renderScene(scene: ReachScene, calibration: CameraCalibration): CameraFrame {
  const size = SYNTHETIC_IMAGE_SIZE;
  const rgb = new Uint8Array(3 * size * size);
  const depth = new Float32Array(size * size);
  const { intrinsics, extrinsics: e, far } = calibration;
  const eye: Vector3 = [e[3], e[7], e[11]];
  const color: [number, number, number] = [0, 0, 0];
  for (let v = 0, i = 0; v < size; v++) {
    for (let u = 0; u < size; u++, i++) {
      const x = (u - intrinsics[2]) / intrinsics[0];
      const y = (v - intrinsics[5]) / intrinsics[4];
      // Not normalised: its component along the optical axis is 1, so ray length is depth.
      const ray: Vector3 = [e[0] * x + e[1] * y + e[2], e[4] * x + e[5] * y + e[6], e[8] * x + e[9] * y + e[10]];
      depth[i] = castRay(scene, eye, ray, far, color);
      for (let channel = 0; channel < 3; channel++) rgb[3 * i + channel] = Math.round(255 * color[channel]);
    }
  }
  return { width: size, height: size, rgb, depth, calibration };
}

function castRay(scene: ReachScene, eye: Vector3, ray: Vector3, far: number, color: [number, number, number]): number {
  let nearest = far;
  let hit: Sphere | undefined;
  setColor(color, BACKGROUND_COLOR, 1);
  const table = (TABLE.center[2] - eye[2]) / ray[2];
  if (table > 0 && table < nearest && onTable(eye[0] + table * ray[0], eye[1] + table * ray[1])) {
    nearest = table;
    setColor(color, TABLE_COLOR, shade(LIGHT[2]));
  }
  for (const sphere of scene.spheres) {
    const distance = hitSphere(sphere, eye, ray);
    if (distance < nearest) {
      nearest = distance;
      hit = sphere;
    }
  }
  if (hit) {
    let facing = 0;
    for (let axis = 0; axis < 3; axis++)
      facing += (LIGHT[axis] * (eye[axis] + nearest * ray[axis] - hit.position[axis])) / hit.radius;
    setColor(color, SPHERE_COLORS[hit.color], shade(facing));
  }
  return nearest;
}

/** Ray parameter of the first intersection, or infinity. */
function hitSphere({ position, radius }: Sphere, eye: Vector3, ray: Vector3): number {
  const x = eye[0] - position[0];
  const y = eye[1] - position[1];
  const z = eye[2] - position[2];
  const a = ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2];
  const b = x * ray[0] + y * ray[1] + z * ray[2];
  const c = x * x + y * y + z * z - radius * radius;
  const discriminant = b * b - a * c;
  if (discriminant < 0) return Infinity;
  const distance = (-b - Math.sqrt(discriminant)) / a;
  return distance > 0 ? distance : Infinity;
}

function onTable(x: number, y: number): boolean {
  return Math.abs(x - TABLE.center[0]) <= TABLE.size[0] / 2 && Math.abs(y - TABLE.center[1]) <= TABLE.size[1] / 2;
}

function shade(facing: number): number {
  return AMBIENT + (1 - AMBIENT) * Math.max(0, facing);
}

function setColor(color: [number, number, number], base: Vector3, brightness: number): void {
  for (let channel = 0; channel < 3; channel++) color[channel] = base[channel] * brightness;
}

/** Calibration of a camera at `eye` looking at `center`: x to the left, y up, z forward, as RLBench's. */
function lookAt(eye: Vector3, center: Vector3): CameraCalibration {
  const forward = normalize([center[0] - eye[0], center[1] - eye[1], center[2] - eye[2]]);
  const left = normalize([-forward[1], forward[0], 0]);
  const up = cross(forward, left);
  const half = SYNTHETIC_IMAGE_SIZE / 2;
  const focal = -half / Math.tan(FIELD_OF_VIEW / 2);
  const row = (axis: number): number[] => [left[axis], up[axis], forward[axis], eye[axis]];
  return {
    intrinsics: Float64Array.of(focal, 0, half, 0, focal, half, 0, 0, 1),
    extrinsics: Float64Array.of(...row(0), ...row(1), ...row(2), 0, 0, 0, 1),
    near: NEAR,
    far: FAR,
  };
}

function cross(a: Vector3, b: Vector3): [number, number, number] {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

function normalize(vector: Vector3): [number, number, number] {
  const length = Math.hypot(...vector);
  return [vector[0] / length, vector[1] / length, vector[2] / length];
}
