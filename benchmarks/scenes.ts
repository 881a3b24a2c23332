import type { PolicyBatch } from "@md/diffusion";
import { mulberry32 } from "@md/tensor";

/** Coordinates of `count` voxels of a wavy surface, as depth cameras see it, in the order of a voxel hash. */
export function surfaceCells(count: number): Int32Array {
  const side = Math.ceil(Math.sqrt(count));
  const coordinates = new Int32Array(3 * count);
  for (let i = 0; i < count; i++) {
    const [x, y] = [Math.floor(i / side), i % side];
    coordinates.set([x, y, 8 + Math.round(3 * Math.sin(x / 7) + 3 * Math.cos(y / 5))], 3 * i);
  }
  return coordinates;
}

/** Random scenes in a 60 cm cube, for timing alone. */
export function randomBatch(
  size: number,
  pointsPerScene: number,
  instructionTokens = 8,
  instructionDim = 128,
): PolicyBatch {
  const random = mulberry32(1);
  const fill = (length: number, low: number, high: number): Float32Array =>
    Float32Array.from({ length }, () => low + random() * (high - low));
  const proprio = fill(size * 8, -0.3, 0.3);
  for (let i = 0; i < size; i++) proprio.set([0, 0, 0, 1, 1], 8 * i + 3);
  return {
    size,
    pointsPerScene,
    instructionTokens,
    instructionDim,
    points: fill(size * pointsPerScene * 3, -0.3, 0.3),
    colors: fill(size * pointsPerScene * 3, 0, 1),
    instruction: fill(size * instructionTokens * instructionDim, -1, 1),
    instructionLengths: new Int32Array(size).fill(instructionTokens),
    proprio,
    targetPosition: fill(size * 3, -0.3, 0.3),
    targetRotationBins: Int32Array.from({ length: size * 3 }, () => Math.floor(random() * 72)),
    targetOpen: new Float32Array(size),
  };
}

/**
 * Random scenes as depth cameras see them, one point a voxel of 1 cm: a table top and a box on it. For timing alone, with
 * as much structure as sparse convolutions meet.
 */
export function surfaceBatch(size: number, pointsPerScene: number): PolicyBatch {
  const random = mulberry32(2);
  const points = new Float32Array(size * pointsPerScene * 3);
  for (let item = 0; item < size; item++) {
    const corner = [0.4 * random(), 0.6 * random()];
    const taken = new Set<string>();
    while (taken.size < pointsPerScene) {
      const [x, y, z] = [random(), random(), random()];
      const onBox = random() < 3 / 8;
      const point = onBox ? [corner[0] + 0.15 * x, corner[1] + 0.15 * y, 0.25 * z] : [0.6 * x, 0.8 * y, 0.02 * z];
      const cell = point.map((value) => Math.floor(value / 0.01));
      if (taken.has(String(cell))) continue;
      const row = item * pointsPerScene + taken.size;
      points.set(
        cell.map((value) => (value + 0.5) * 0.01),
        3 * row,
      );
      taken.add(String(cell));
    }
  }
  return { ...randomBatch(size, pointsPerScene, 10, 512), points };
}
