import { mulberry32 } from "@md/tensor";
import type { PolicyBatch } from "../src/index.js";

/** Random scenes around their target positions, with instructions of 6 components a token. */
export function syntheticBatch(
  size: number,
  {
    points = 20,
    horizon = 1,
    lengths = Array.from({ length: size }, () => 3),
  }: { points?: number; horizon?: number; lengths?: number[] } = {},
): PolicyBatch {
  const random = mulberry32(11);
  const draw = (length: number, scale: number): Float32Array =>
    Float32Array.from({ length }, () => scale * (2 * random() - 1));
  const instructionTokens = Math.max(...lengths);
  const proprio = draw(size * 8, 0.3);
  for (let i = 0; i < size; i++) proprio.set([0, 0, 0, 1, 1], 8 * i + 3);
  return {
    size,
    pointsPerScene: points,
    instructionTokens,
    instructionDim: 6,
    points: draw(size * points * 3, 0.5),
    colors: draw(size * points * 3, 0.5).map((value) => value + 0.5),
    instruction: draw(size * instructionTokens * 6, 1),
    instructionLengths: Int32Array.from(lengths),
    proprio,
    targetPosition: draw(size * horizon * 3, 0.5),
    targetRotationBins: Int32Array.from({ length: size * horizon * 3 }, () => Math.floor(72 * random())),
    targetOpen: Float32Array.from({ length: size * horizon }, () => Number(random() < 0.5)),
  };
}
