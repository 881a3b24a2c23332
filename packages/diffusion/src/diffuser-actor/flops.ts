import { positionFeatureDim } from "../positions.js";
import type { PolicyBatch } from "../policy.js";
import type { DiffuserActorConfig } from "./config.js";
import { POSE_DIM } from "./network.js";

/**
 * Floating-point operations of one training step: two for each multiply-add of the matrix products, a backward pass
 * being two forward ones (2.5 for attention, which recomputes its scores). Of the local query's 27 neighbours all count,
 * an upper bound.
 */
export function diffuserActorStepFlops(
  config: Readonly<DiffuserActorConfig>,
  { size, pointsPerScene, instructionTokens }: Pick<PolicyBatch, "size" | "pointsPerScene" | "instructionTokens">,
): number {
  const { embedDim: d, crossLayers, selfLayers, headLayers, mlpRatio, horizon, samples } = config;
  const condition = pointsPerScene + 1 + instructionTokens;
  const actions = samples * horizon;
  const position = positionFeatureDim(config.positionFrequencies);
  const layers = crossLayers + selfLayers + 2 * headLayers;
  // In the others condition tokens are keys and values alone.
  const conditionLayers = selfLayers + 2 * (headLayers - 1);
  const embed =
    pointsPerScene * (position + 3 + 2 * d) * d +
    (position + 7 + d) * d +
    instructionTokens * config.instructionDim * d +
    actions * (position + POSE_DIM - 3 + d) * d +
    samples * 2 * d * d;
  const film = samples * 6 * d * d;
  const local = config.localVoxelSize > 0 ? 27 : 0;
  const conditionLinear = condition * (layers * 2 + conditionLayers * (2 + 2 * mlpRatio)) * d * d;
  const actionLinear = layers * (actions * (4 + 2 * mlpRatio + local) * d * d + film);
  const head = actions * (POSE_DIM + d + 1) * d;
  const attention = 2 * d * (conditionLayers * condition * condition + layers * actions * (condition + horizon));
  return 2 * size * (3 * (embed + conditionLinear + actionLinear + head) + 3.5 * attention);
}
