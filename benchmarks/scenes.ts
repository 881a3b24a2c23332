import type { PolicyBatch } from "@md/diffusion";
import { mulberry32 } from "@md/tensor";

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
