import type { PolicyBatch } from "../policy.js";
import type { MiniDiffuserConfig } from "./config.js";

/** Occupied cells within 3³ and 5³ of a cell of a scanned surface, itself among them, and the share that a level keeps of the finer one's: about. */
const NEIGHBOURS = 9;
const NEIGHBOURS_5 = 22;
const KEPT = 1 / 4;

/**
 * Floating-point operations of one training step: two for each multiply-add of the matrix products, a backward pass being
 * two forward ones (2.5 for attention). Cells a level and neighbours a cell are those of a typical scan of a surface.
 */
export function miniDiffuserStepFlops(
  config: Readonly<MiniDiffuserConfig>,
  { size, pointsPerScene, instructionTokens }: Pick<PolicyBatch, "size" | "pointsPerScene" | "instructionTokens">,
): number {
  const { encChannels, decChannels, encDepths, decDepths, patchSize, contextDim, samples, instructionDim } = config;
  const queried = config.localQuery ? NEIGHBOURS : 0;
  let linear = pointsPerScene * NEIGHBOURS_5 * 7 * encChannels[0]! + instructionTokens * instructionDim * contextDim;
  let attention = 0;
  const stage = (cells: number, width: number, depth: number): void => {
    linear += depth * cells * width * width * (NEIGHBOURS + 1 + 12 + 10);
    linear += depth * instructionTokens * contextDim * 2 * width;
    attention += 2 * depth * cells * width * (Math.min(patchSize, cells) + instructionTokens);
  };
  const dim = decChannels[0]!;
  const widths = [...decChannels, encChannels.at(-1)!];
  widths.forEach((width, level) => {
    const cells = pointsPerScene * KEPT ** level;
    stage(cells, encChannels[level]!, encDepths[level]!);
    if (level > 0) linear += (cells / KEPT) * encChannels[level - 1]! * encChannels[level]!;
    if (level + 1 < widths.length) {
      stage(cells, width, decDepths[level]!);
      linear += cells * (KEPT * widths[level + 1]! + encChannels[level]!) * width;
    }
    linear += cells * width * 2 * dim + samples * dim * (queried * width + 13 * dim + 4 * contextDim);
    attention += 2 * samples * dim * (cells + instructionTokens + 1);
  });
  return 2 * size * (3 * linear + 3.5 * attention);
}
