import type { Tensor } from "@md/tensor";
import {
  DDPMScheduler,
  FlowMatchEulerDiscreteScheduler,
  predictionTypes,
  type SchedulerConfig,
  type TimestepSpacing,
} from "./schedulers/index.js";

/**
 * What a network is trained to predict: under diffusion the noise, the clean sample or v; under rectified flow the
 * velocity ε - x₀. Names are diffusers'.
 */
export const objectives = [...predictionTypes, "flow_prediction"] as const;
export type ObjectiveName = (typeof objectives)[number];

/** How clean samples are noised and what is predicted: the diffusers configuration of a policy's schedulers. */
export interface NoiseProcess extends Partial<Omit<SchedulerConfig, "predictionType">> {
  predictionType: ObjectiveName;
  /** K. */
  numTrainTimesteps: number;
}

/** The process of samples within [-1, 1], which every step clips there, with the schedule that a policy is configured to. */
export const clippedProcess = (
  { numTrainTimesteps, betaSchedule, predictionType }: NoiseProcess,
  timestepSpacing: TimestepSpacing = "trailing",
): NoiseProcess => ({
  numTrainTimesteps,
  betaSchedule,
  predictionType,
  clipSample: true,
  clipSampleRange: 1,
  timestepSpacing,
});

/** The training half of a {@link NoiseProcess}; `createSampler` is the other. */
export interface Objective {
  /** Whether timesteps are reals of [0, K) and not integers; an option of `drawLevel2`. */
  readonly continuousTimesteps: boolean;
  /** How much of the clean sample is left where sampling starts from pure noise: √ᾱ_K, or 0 under flow. */
  readonly remainingSignal: number;
  /** Noised samples [n, …] of clean ones and noise of that shape, at timesteps [n]. */
  addNoise(clean: Tensor, noise: Tensor, timesteps: Tensor): Tensor;
  /** What the network should predict for them, like `clean`. */
  target(clean: Tensor, noise: Tensor, timesteps: Tensor): Tensor;
}

/** @throws ValueError for a configuration out of range */
export function createObjective({ predictionType, ...config }: NoiseProcess): Objective {
  if (predictionType === "flow_prediction") {
    const flow = new FlowMatchEulerDiscreteScheduler({ numTrainTimesteps: config.numTrainTimesteps });
    return {
      continuousTimesteps: true,
      remainingSignal: 0,
      addNoise: (clean, noise, timesteps) => flow.addNoise(clean, noise, timesteps),
      target: (clean, noise) => flow.getVelocity(clean, noise),
    };
  }
  const diffusion = new DDPMScheduler({ ...config, predictionType });
  return {
    continuousTimesteps: false,
    remainingSignal: diffusion.remainingSignal(),
    addNoise: (clean, noise, timesteps) => diffusion.addNoise(clean, noise, timesteps),
    target(clean, noise, timesteps) {
      switch (predictionType) {
        case "epsilon":
          return noise;
        case "sample":
          return clean;
        case "v_prediction":
          return diffusion.getVelocity(clean, noise, timesteps);
      }
    },
  };
}
