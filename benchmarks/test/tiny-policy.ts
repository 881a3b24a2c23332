import type { FullPolicySizes } from "../suites/full-policy.js";

/** What an emulated device can do. */
export const tinyPolicy: FullPolicySizes = {
  scenes: 1,
  points: 12,
  samples: 2,
  sampledScenes: 2,
  solverSteps: 1,
  config: {
    ...{ encChannels: [8, 12], encNumHeads: [2, 2], encDepths: [1, 1] },
    ...{ decChannels: [12], decNumHeads: [2], decDepths: [1] },
    ...{ patchSize: 8, contextDim: 8, instructionDim: 6 },
  },
};
