import { Module } from "@md/nn";
import {
  assign,
  binaryCrossEntropyWithLogits,
  cat,
  type Generator,
  l1Loss,
  mseLoss,
  noGrad,
  scope,
  ShapeError,
  sigmoid,
  tensor,
  type Tensor,
  ValueError,
  zeros,
} from "@md/tensor";
import type { ObservationTensors } from "../light/scene-encoder.js";
import { checkCandidates, checkTargets } from "../check-batch.js";
import { concatenate } from "../concatenate.js";
import { denoiser } from "../denoiser.js";
import { drawLevel2 } from "../level2.js";
import { clippedProcess, createObjective, type NoiseProcess, type Objective } from "../objective.js";
import type { ActionSample, Observation, Policy, PolicyBatch, PolicyFactory, SampleOptions } from "../policy.js";
import { rotation6dOfBins, rotation6dOfQuaternions, rotation6dToBins, rotation6dToQuaternions } from "../rotation.js";
import { createSampler, runSampler, type Solver, solversFor } from "../sampler.js";
import { type DiffuserActorConfig, diffuserActorDefaults, resolveDiffuserActorConfig } from "./config.js";
import { diffuserActorStepFlops } from "./flops.js";
import { DiffuserActorNetwork, type EncodedActorScene, POSE_DIM } from "./network.js";

/** What one training step reads besides the parameters, where they lie. */
export interface ActorStep {
  observation: ObservationTensors;
  /** Of each sample, [B·M]. */
  timesteps: Tensor;
  /** Noised poses, [B, M, L, 9]. */
  noisy: Tensor;
  /** What the network shall make of them, [B·M, L, 9]. */
  target: Tensor;
  /** 1 open, 0 closed, [B·M, L]. */
  open: Tensor;
}

/**
 * Overwrites the tensors of one step by those of another.
 *
 * @throws ShapeError where sizes differ, ValueError where the instructions' lengths do: they decide what is computed
 */
export function assignStep(to: ActorStep, from: ActorStep): void {
  const lengths = [to, from].map(({ observation }) => observation.instructionLengths.join(", "));
  if (lengths[0] !== lengths[1])
    throw new ValueError(`[assignStep] found instructions of ${lengths[1]} tokens, expected ${lengths[0]}`);
  const [targets, sources] = [tensorsOf(to), tensorsOf(from)];
  const names = Object.keys(targets) as (keyof typeof targets)[];
  for (const name of names) {
    const [expected, found] = [targets[name].shape, sources[name].shape];
    if (String(found) !== String(expected))
      throw new ShapeError(`[assignStep] ${name} has shape [${found}], expected [${expected}]`);
  }
  for (const name of names) assign(targets[name], sources[name]);
}

const tensorsOf = ({ observation, timesteps, noisy, target, open }: ActorStep) => {
  const { points, colors, gripper, instruction } = observation;
  return { points, colors, gripper, instruction, timesteps, noisy, target, open };
};

/**
 * 3D Diffuser Actor (Ke et al., 2024) with Level-2 batching, the paper's A.2 and Table 3's "w.o. PTv3 backbone": position
 * and 6D rotation are denoised together in one token, under one noise schedule, by {@link DiffuserActorNetwork}; the
 * gripper is classified from that token at every noise level.
 */
export class DiffuserActor extends Module implements Policy {
  readonly config: Readonly<Record<string, unknown>>;
  readonly solvers: readonly Solver[];
  private readonly settings: Readonly<DiffuserActorConfig>;
  private readonly network: DiffuserActorNetwork;
  private readonly objective: Objective;

  /** @param config checked by {@link resolveDiffuserActorConfig}; missing fields take their defaults */
  constructor(config: Partial<DiffuserActorConfig>, options: { generator: Generator }) {
    super();
    this.settings = resolveDiffuserActorConfig(config);
    this.config = { ...this.settings };
    this.solvers = solversFor(this.settings.predictionType);
    this.objective = createObjective(this.noiseProcess());
    this.network = new DiffuserActorNetwork(this.settings, options);
  }

  private noiseProcess(): NoiseProcess {
    return clippedProcess(this.settings);
  }

  /** √ᾱ_K: the signal left where sampling starts from pure noise. */
  get remainingSignal(): number {
    return this.objective.remainingSignal;
  }

  /** Runs scenes through all layers, once for all denoising steps. */
  encode(observation: Observation): EncodedActorScene {
    return this.network.encode(this.network.read(observation));
  }

  /** See {@link DiffuserActorNetwork.predict}. */
  predict(scene: EncodedActorScene, poses: Tensor, timesteps: Tensor): { prediction: Tensor; open: Tensor } {
    return this.network.predict(scene, poses, timesteps);
  }

  /** Rotations are learned from `targetQuaternion`, or where it is absent from the centres of `targetRotationBins`. */
  loss(batch: PolicyBatch, generator: Generator): { loss: Tensor; parts: Record<string, Tensor> } {
    return this.lossOf(this.prepare(batch, generator));
  }

  /** The host's part of {@link loss}: all that differs from one training step to the next. */
  prepare(batch: PolicyBatch, generator: Generator): ActorStep {
    const { size, targetQuaternion, targetRotationBins } = batch;
    const { horizon, samples, numTrainTimesteps } = this.settings;
    checkTargets("DiffuserActor", batch, horizon);
    const observation = this.network.read(batch);
    const { continuousTimesteps } = this.objective;
    const { device } = this;
    const shape = [horizon, POSE_DIM];
    const level2 = { batchSize: size, samples, numTrainTimesteps, shape, generator, continuousTimesteps, device };
    const draws = drawLevel2(level2);
    const columns = targetQuaternion ? rotation6dOfQuaternions(targetQuaternion) : rotation6dOfBins(targetRotationBins);
    const target = tensor(batch.targetPosition, { shape: [size, horizon, 3], device });
    const rotations = tensor(columns, { shape: [size, horizon, 6], device });
    const pose = cat([this.network.normalizer.normalize(target), rotations], -1);
    const clean = draws.repeat(pose);
    return {
      observation,
      timesteps: draws.timesteps.to(device),
      noisy: this.objective.addNoise(clean, draws.noise, draws.timesteps).reshape([size, samples, ...shape]),
      target: this.objective.target(clean, draws.noise, draws.timesteps),
      open: draws.repeat(tensor(batch.targetOpen, { shape: [size, horizon], device })),
    };
  }

  /**
   * The device's part of {@link loss}. Without local query it waits for nothing, so that a `CudaGraph` can hold a training
   * step: {@link assignStep} gives it another batch of the same sizes and instruction lengths.
   */
  lossOf({ observation, timesteps, noisy, target: expected, open: opened }: ActorStep): {
    loss: Tensor;
    parts: Record<string, Tensor>;
  } {
    const { denoisingLoss } = this.settings;
    const predicted = this.predict(this.network.encode(observation), noisy, timesteps);
    const prediction = predicted.prediction.reshape(expected.shape);
    const denoising = (from: number, count: number): Tensor =>
      (denoisingLoss === "l1" ? l1Loss : mseLoss)(prediction.narrow(-1, from, count), expected.narrow(-1, from, count));
    const position = denoising(0, 3);
    const rotation = denoising(3, POSE_DIM - 3);
    const open = binaryCrossEntropyWithLogits(predicted.open.reshape(opened.shape), opened);
    const { positionWeight, rotationWeight, openWeight } = this.settings;
    return {
      loss: position.mul(positionWeight).add(rotation.mul(rotationWeight)).add(open.mul(openWeight)),
      parts: { position, rotation, open },
    };
  }

  sample(observation: Observation, options: SampleOptions): ActionSample {
    return noGrad(() => scope(() => this.denoise(this.encode(observation), options)));
  }

  /** {@link sample} in scenes that are encoded already. */
  denoise(scene: EncodedActorScene, options: SampleOptions): ActionSample {
    const { candidates = 1, generator, returnTrajectory = false } = options;
    const { size } = scene;
    const { device } = this;
    const { horizon } = this.settings;
    checkCandidates("DiffuserActor", candidates);
    const sampler = createSampler("DiffuserActor", this.noiseProcess(), options);
    const frames: Float32Array[] = [];
    const world = (poses: Tensor): Float32Array =>
      scope(() => this.network.normalizer.denormalize(poses.narrow(-1, 0, 3)).data() as Float32Array);
    return noGrad(() =>
      scope(() => {
        const run = { rows: size * candidates, device, evaluations: sampler.timesteps.length };
        const predict = denoiser(run, (x, timesteps) => this.predict(scene, x, timesteps).prediction);
        const record = (x: Tensor): unknown => returnTrajectory && frames.push(world(x));
        const poses = runSampler(sampler, [size, candidates, horizon, POSE_DIM], predict, {
          generator,
          record,
          device,
        });
        const columns = poses.narrow(-1, 3, POSE_DIM - 3).data() as Float32Array;
        return {
          size,
          candidates,
          horizon,
          position: world(poses),
          rotationBins: rotation6dToBins(columns),
          quaternion: rotation6dToQuaternions(columns),
          // Of the final pose, as one without noise.
          open: sigmoid(this.predict(scene, poses, zeros([size * candidates], { device })).open).data() as Float32Array,
          ...(returnTrajectory ? { trajectory: concatenate(frames) } : {}),
        };
      }),
    );
  }

  stepFlops(batch: Pick<PolicyBatch, "size" | "pointsPerScene" | "instructionTokens">): number {
    return diffuserActorStepFlops(this.settings, batch);
  }
}

/** The factory behind `--model diffuser-actor`. */
export const diffuserActor: PolicyFactory = {
  name: "diffuser-actor",
  defaults: diffuserActorDefaults(),
  create: (options, statistics, generator) =>
    new DiffuserActor(
      { ...options, instructionDim: statistics.instructionDim, positionBounds: statistics.positionBounds },
      { generator },
    ),
  fromConfig: (config, generator) => new DiffuserActor(config, { generator }),
};
