import type { PolicyBatch } from "../policy.js";
import { positionFeatureDim } from "../positions.js";
import { ROTATION_BINS } from "../rotation.js";
import type { MiniDiffuserLightConfig } from "./config.js";

/**
 * Floating-point operations of one training step: two for each multiply-add of the matrix products, a backward pass
 * being two forward ones (2.5 for attention, which recomputes its scores). Of the local query's 27 neighbours all count,
 * an upper bound.
 */
export function lightStepFlops(
  config: Readonly<MiniDiffuserLightConfig>,
  { size, pointsPerScene, instructionTokens }: Pick<PolicyBatch, "size" | "pointsPerScene" | "instructionTokens">,
): number {
  const {
    embedDim: d,
    numLayers,
    mlpRatio,
    horizon,
    samples,
    poseQueries,
    instructionDim,
    positionFrequencies,
  } = config;
  const condition = pointsPerScene + 1 + instructionTokens;
  const actions = (samples + poseQueries) * horizon;
  const position = positionFeatureDim(positionFrequencies);
  const embed =
    pointsPerScene * (position + 3 + 2 * d) * d +
    (position + 7 + d) * d +
    instructionTokens * instructionDim * d +
    actions * (position + d) * d;
  // The last layer's condition tokens are keys and values alone.
  const conditionLinear = (numLayers - 1) * condition * (4 + 2 * mlpRatio) * d * d + condition * 2 * d * d;
  const film = (samples + poseQueries) * 6 * d * d;
  const actionLinear = numLayers * (actions * (4 + 2 * mlpRatio + 27) * d * d + film);
  const head = samples * horizon * 3 * d + poseQueries * horizon * (2 * d * d + 2 * d * 3 * ROTATION_BINS + d);
  const attention = 2 * d * ((numLayers - 1) * condition * condition + numLayers * actions * (condition + horizon));
  return 2 * size * (3 * (embed + conditionLinear + actionLinear + head) + 3.5 * attention);
}
