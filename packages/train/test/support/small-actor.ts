import { DiffuserActor, type PolicyBatch } from "@md/diffusion";
import { Generator, mulberry32 } from "@md/tensor";

/** A policy whose training step has fixed shapes. */
export const smallActor = (): DiffuserActor =>
  new DiffuserActor(
    {
      ...{ embedDim: 12, numHeads: 2, samples: 2, instructionDim: 6 },
      ...{ localVoxelSize: 0, crossLayers: 1, selfLayers: 1, headLayers: 1 },
    },
    { generator: new Generator(1) },
  );

/** Two random scenes, others for each seed. */
export function batchOf(seed: number, { points = 9, lengths = [3, 1] } = {}): PolicyBatch {
  const random = mulberry32(seed);
  const draw = (length: number): Float32Array => Float32Array.from({ length }, () => random() - 0.5);
  const [size, instructionTokens, instructionDim] = [2, 3, 6];
  const proprio = draw(size * 8);
  return {
    ...{ size, pointsPerScene: points, instructionTokens, instructionDim },
    points: draw(size * points * 3),
    colors: draw(size * points * 3).map((value) => value + 0.5),
    instruction: draw(size * instructionTokens * instructionDim),
    instructionLengths: Int32Array.from(lengths),
    proprio,
    targetPosition: draw(size * 3),
    targetRotationBins: Int32Array.from({ length: size * 3 }, () => Math.floor(72 * random())),
    targetOpen: Float32Array.from({ length: size }, () => Number(random() < 0.5)),
  };
}
