import { Module, type RandomLayerOptions } from "@md/nn";
import {
  argmax,
  binaryCrossEntropyWithLogits,
  crossEntropy,
  type Generator,
  l1Loss,
  mseLoss,
  noGrad,
  randn,
  scope,
  sigmoid,
  tensor,
  type Tensor,
} from "@md/tensor";
import { checkCandidates, checkObservation, checkPositions, checkTargets } from "../check-batch.js";
import { concatenate } from "../concatenate.js";
import { denoiser } from "../denoiser.js";
import { drawLevel2, type Level2Draws } from "../level2.js";
import { clippedProcess, createObjective, type NoiseProcess, type Objective } from "../objective.js";
import type { ActionSample, Observation, Policy, PolicyBatch, PolicyFactory, SampleOptions } from "../policy.js";
import { PositionNormalizer } from "../positions.js";
import { ROTATION_BINS } from "../rotation.js";
import { createSampler, runSampler, type Solver, solversFor } from "../sampler.js";
import {
  type MiniDiffuserConfig,
  miniDiffuserDefaults,
  type ResolvedMiniDiffuserConfig,
  resolveMiniDiffuserConfig,
} from "./config.js";
import { miniDiffuserStepFlops } from "./flops.js";
import { type EncodedScenes, MiniDiffuserNetwork, type SceneTensors } from "./network.js";
import { centerScenes } from "./scenes.js";

/** What a training step draws, given where it is to be repeated. */
export interface MiniDiffuserDraws {
  /** Noise levels and noise of B·M samples. */
  level2: Level2Draws;
  /** Metres by which the positions are off at which rotation and gripper are learned, [B, 3]. */
  jitter: Tensor;
}

/** Targets of a step, one action an item. */
export interface ActionTargets {
  /** [B, 3], metres from the centre of the item's points. */
  positions: Tensor;
  /** 5° bins of x, y, z, [B, 3], integers. */
  rotationBins: Tensor;
  /** 1 open, 0 closed, [B]. */
  open: Tensor;
}

/** Scenes that {@link MiniDiffuser.denoise} can act in. */
export interface EncodedObservation {
  encoded: EncodedScenes;
  /** Of the items, world frame, metres, [B, 3]. */
  centers: Float32Array;
}

/**
 * The full policy of the paper (Section 4, A.3): {@link MiniDiffuserNetwork} with Level-2 batching. Scenes are centred on
 * the middle of the training data's bounds, and positions are diffused in [-1, 1] of those. With `compat`, as released
 * checkpoints were trained, scenes are centred on the mean of their points and positions are in metres from there.
 */
export class MiniDiffuser extends Module implements Policy {
  readonly config: Readonly<Record<string, unknown>>;
  readonly solvers: readonly Solver[];
  readonly network: MiniDiffuserNetwork;
  private readonly settings: ResolvedMiniDiffuserConfig;
  private readonly normalizer: PositionNormalizer | null;
  private readonly objective: Objective;

  /** @param config checked by {@link resolveMiniDiffuserConfig}; missing fields take their defaults */
  constructor(config: Partial<MiniDiffuserConfig>, options: RandomLayerOptions) {
    super();
    this.settings = resolveMiniDiffuserConfig(config);
    this.config = { ...this.settings };
    const { compat, positionBounds, predictionType } = this.settings;
    this.normalizer = compat === "none" ? new PositionNormalizer(positionBounds) : null;
    this.solvers = solversFor(predictionType);
    this.objective = createObjective(this.noiseProcess());
    this.network = new MiniDiffuserNetwork(this.settings, options);
  }

  private get center(): readonly number[] | null {
    return this.normalizer?.center ?? null;
  }

  private noiseProcess(): NoiseProcess {
    // With `compat` the last timestep is not the noisiest: diffusers' default spacing.
    return clippedProcess(this.settings, this.normalizer ? "trailing" : "leading");
  }

  /** √ᾱ_K: the signal left where sampling starts from pure noise. */
  get remainingSignal(): number {
    return this.objective.remainingSignal;
  }

  loss(batch: PolicyBatch, generator: Generator): { loss: Tensor; parts: Record<string, Tensor> } {
    const { size } = batch;
    const { device } = this;
    const { samples, numTrainTimesteps, poseJitter } = this.settings;
    checkObservation("MiniDiffuser", batch, this.settings);
    checkTargets("MiniDiffuser", batch, 1);
    const { scenes, centers } = centerScenes(batch, this.center, device);
    const { continuousTimesteps } = this.objective;
    const shape = [3];
    const level2 = { batchSize: size, samples, numTrainTimesteps, shape, generator, continuousTimesteps, device };
    const draws = {
      level2: drawLevel2(level2),
      jitter: randn([size, 3], { generator, device }).mul(poseJitter),
    };
    const triples = { shape: [size, 3], device };
    const targets = {
      positions: tensor(batch.targetPosition, triples).sub(tensor(centers, triples)),
      rotationBins: tensor(batch.targetRotationBins, triples),
      open: tensor(batch.targetOpen, { device }),
    };
    return this.lossOf(scenes, centers, targets, draws);
  }

  /**
   * The loss of given scenes, targets and draws.
   * @param centers of the items, world frame, metres, [B, 3]
   */
  lossOf(
    scenes: SceneTensors,
    centers: Float32Array,
    { positions, rotationBins, open }: ActionTargets,
    { level2, jitter }: MiniDiffuserDraws,
  ): { loss: Tensor; parts: Record<string, Tensor> } {
    const { positionLoss, positionWeight, rotationWeight, openWeight } = this.settings;
    const items = scenes.counts.length;
    const observation = { encoded: this.network.encode(scenes), centers };
    const clean = level2.repeat(this.diffused(positions.unsqueeze(1), centers).squeeze(1));
    const noisy = this.objective.addNoise(clean, level2.noise, level2.timesteps);
    const predicted = this.predict(observation, noisy.reshape([items, -1, 3]), level2.timesteps);
    const target = this.objective.target(clean, level2.noise, level2.timesteps);
    const position = (positionLoss === "l1" ? l1Loss : mseLoss)(predicted.reshape(clean.shape), target);

    const pose = this.network.pose(observation.encoded, positions.add(jitter).unsqueeze(1));
    const rotation = crossEntropy(pose.rotation.reshape([-1, ROTATION_BINS]), rotationBins.flatten());
    const opening = binaryCrossEntropyWithLogits(pose.open.flatten(), open);
    const loss = position.mul(positionWeight).add(rotation.mul(rotationWeight)).add(opening.mul(openWeight));
    return { loss, parts: { noise: position, rotation, open: opening } };
  }

  /** Runs scenes through the backbone, once for all denoising steps. */
  encode(observation: Observation): EncodedObservation {
    checkObservation("MiniDiffuser", observation, this.settings);
    const { scenes, centers } = centerScenes(observation, this.center, this.device);
    return { encoded: this.network.encode(scenes), centers };
  }

  /**
   * What the network predicts of noised positions.
   * @param positions as they are diffused, [B, S, 3]
   * @param timesteps [B·S], item-major, any dtype and device
   * @returns [B, S, 3]
   * @throws ShapeError
   */
  predict({ encoded, centers }: EncodedObservation, positions: Tensor, timesteps: Tensor): Tensor {
    checkPositions("MiniDiffuser", encoded.items, positions, timesteps);
    return this.network.predict(encoded, this.metres(positions, centers), timesteps).reshape(positions.shape);
  }

  sample(observation: Observation, options: SampleOptions): ActionSample {
    return noGrad(() => scope(() => this.denoise(this.encode(observation), options)));
  }

  /** {@link sample} in scenes that are encoded already. */
  denoise(observation: EncodedObservation, options: SampleOptions): ActionSample {
    const { candidates = 1, generator, returnTrajectory = false } = options;
    const { encoded, centers } = observation;
    const { items } = encoded;
    const { device } = this;
    checkCandidates("MiniDiffuser", candidates);
    const sampler = createSampler("MiniDiffuser", this.noiseProcess(), options);
    const frames: Float32Array[] = [];
    const world = (x: Tensor): Float32Array => {
      return scope(() => this.metres(x, centers).add(this.centersLike(x, centers)).data() as Float32Array);
    };
    return noGrad(() =>
      scope(() => {
        const run = { rows: items * candidates, device, evaluations: sampler.timesteps.length };
        const predict = denoiser(run, (x, timesteps) => this.predict(observation, x, timesteps));
        const record = (x: Tensor): unknown => returnTrajectory && frames.push(world(x));
        // Released checkpoints are sampled from zeros noised to the last timestep.
        const initNoiseSigma = this.normalizer ? 1 : Math.sqrt(1 - this.remainingSignal ** 2);
        const drawn = runSampler(sampler, [items, candidates, 3], predict, {
          generator,
          record,
          initNoiseSigma,
          device,
        });
        const { rotation, open } = this.network.pose(encoded, this.metres(drawn, centers));
        return {
          size: items,
          candidates,
          horizon: 1,
          position: world(drawn),
          rotationBins: Int32Array.from(argmax(rotation, { dim: -1 }).toFlatArray()),
          open: sigmoid(open).data() as Float32Array,
          ...(returnTrajectory ? { trajectory: concatenate(frames) } : {}),
        };
      }),
    );
  }

  /** Positions [B, S, 3] in metres from the centre of their item, as they are diffused. */
  private diffused(positions: Tensor, centers: Float32Array): Tensor {
    if (!this.normalizer) return positions;
    return this.normalizer.normalize(positions.add(this.centersLike(positions, centers)));
  }

  /** The inverse of {@link diffused}. */
  private metres(positions: Tensor, centers: Float32Array): Tensor {
    if (!this.normalizer) return positions;
    return this.normalizer.denormalize(positions).sub(this.centersLike(positions, centers));
  }

  private centersLike(positions: Tensor, centers: Float32Array): Tensor {
    const { dtype, device } = positions;
    return tensor(centers, { shape: [positions.shape[0]!, 1, 3], dtype, device });
  }

  stepFlops(batch: Pick<PolicyBatch, "size" | "pointsPerScene" | "instructionTokens">): number {
    return miniDiffuserStepFlops(this.settings, batch);
  }
}

/** The factory behind `--model mini-diffuser`. */
export const miniDiffuser: PolicyFactory = {
  name: "mini-diffuser",
  defaults: miniDiffuserDefaults(),
  create: (options, statistics, generator) =>
    new MiniDiffuser(
      { ...options, instructionDim: statistics.instructionDim, positionBounds: statistics.positionBounds },
      { generator },
    ),
  fromConfig: (config, generator) => new MiniDiffuser(config, { generator }),
};
