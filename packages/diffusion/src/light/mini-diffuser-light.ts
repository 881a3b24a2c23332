import { LayerNorm, Linear, MLP, Module, type Parameter, parameter, TimestepEmbedding } from "@md/nn";
import {
  argmax,
  binaryCrossEntropyWithLogits,
  cat,
  crossEntropy,
  type Generator,
  type LocalKernelMap,
  mseLoss,
  noGrad,
  randn,
  rotaryTable,
  scope,
  sigmoid,
  tensor,
  type Tensor,
  type VoxelHash,
  zeros,
} from "@md/tensor";
import { checkCandidates, checkTargets } from "../check-batch.js";
import { concatenate } from "../concatenate.js";
import { itemOfRow } from "../item-of-row.js";
import { denoiser } from "../denoiser.js";
import { drawLevel2 } from "../level2.js";
import type { ActionSample, Observation, Policy, PolicyBatch, PolicyFactory, SampleOptions } from "../policy.js";
import { clippedProcess, createObjective, type NoiseProcess, type Objective } from "../objective.js";
import { positionFeatureDim, positionFeatures, PositionNormalizer } from "../positions.js";
import { ROTATION_BINS } from "../rotation.js";
import { createSampler, runSampler, type Solver, solversFor } from "../sampler.js";
import { actionMask, type BlockMemory, type ConditionLayout, NonInvasiveBlock } from "./block.js";
import { BlockStack } from "./block-stack.js";
import { lightDefaults, type MiniDiffuserLightConfig, resolveLightConfig } from "./config.js";
import { lightStepFlops } from "./flops.js";
import { PoseHead } from "./pose-head.js";
import { SceneEncoder } from "./scene-encoder.js";

/** A scene after all layers: what every denoising step reads, computed once. */
export interface EncodedScene {
  /** B. */
  size: number;
  layout: ConditionLayout;
  /** The gripper's token, [B, 1, d]: what a pose query starts from. */
  gripper: Tensor;
  /** One a layer. */
  memories: BlockMemory[];
  /** One a layer; layers of one bin size share theirs. */
  voxels: VoxelHash[];
}

/**
 * The policy of Section 4 as written: tokens of Eq. 11 in layers of masked global attention, local kernel query and
 * FiLM ({@link NonInvasiveBlock}), with the decoupled head of A.3: the position is denoised, rotation and gripper are
 * classified from a token at the final position. Condition tokens are computed once a scene and shared by all samples.
 */
export class MiniDiffuserLight extends Module implements Policy {
  readonly config: Readonly<Record<string, unknown>>;
  private readonly settings: Readonly<MiniDiffuserLightConfig>;
  private readonly normalizer: PositionNormalizer;
  readonly solvers: readonly Solver[];
  private readonly objective: Objective;
  private readonly scene: SceneEncoder;
  private readonly action: MLP;
  private readonly timestep: TimestepEmbedding;
  /** Place of a token in its action sequence. */
  private readonly horizonEmbedding: Parameter;
  /** Marks tokens that ask for rotation and gripper at a position, instead of noise. */
  private readonly poseQuery: Parameter;
  private readonly blocks: BlockStack;
  private readonly noiseNorm: LayerNorm;
  private readonly noise: Linear;
  private readonly pose: PoseHead;

  /** @param config checked by {@link resolveLightConfig}; missing fields take their defaults */
  constructor(config: Partial<MiniDiffuserLightConfig>, options: { generator: Generator }) {
    super();
    this.settings = resolveLightConfig(config);
    this.config = { ...this.settings };
    const { embedDim: d, numHeads, numLayers, mlpRatio, horizon, positionBounds, positionFrequencies } = this.settings;
    this.normalizer = new PositionNormalizer(positionBounds);
    this.solvers = solversFor(this.settings.predictionType);
    this.objective = createObjective(this.noiseProcess());
    const { binCells, gridSize } = this.settings;
    const voxelSizes = binCells.map((cells) => cells * gridSize);
    this.scene = new SceneEncoder("MiniDiffuserLight", { ...this.settings, voxelSizes }, this.normalizer, options);
    this.action = new MLP([positionFeatureDim(positionFrequencies), d, d], options);
    this.timestep = new TimestepEmbedding(d, d, options);
    this.horizonEmbedding = parameter(() => randn([horizon, d], options).mul(0.02));
    this.poseQuery = parameter(() => randn([d], options));
    this.blocks = new BlockStack(
      Array.from({ length: numLayers }, () => new NonInvasiveBlock(d, numHeads, mlpRatio, options)),
    );
    this.noiseNorm = new LayerNorm(d);
    this.noise = new Linear(d, 3, options);
    this.pose = new PoseHead(d, options);
  }

  private noiseProcess(): NoiseProcess {
    return clippedProcess(this.settings);
  }

  /** √ᾱ_K: the signal left where sampling starts from pure noise. */
  get remainingSignal(): number {
    return this.objective.remainingSignal;
  }

  /** Runs the condition tokens through all layers. */
  encode(observation: Observation): EncodedScene {
    const tokens = this.scene.forward(this.scene.read(observation));
    const { binCells, gridSize, numLayers } = this.settings;
    const sizes = Array.from({ length: numLayers }, (_, layer) => (binCells[layer] ?? binCells[0]!) * gridSize);
    const voxels = sizes.map((size) => tokens.voxels.get(size)!);
    // Nothing reads the condition tokens after the last layer.
    const { memories } = this.blocks.remember(tokens.hidden, tokens.layout, voxels, numLayers - 1);
    return { size: observation.size, layout: tokens.layout, gripper: tokens.gripper, memories, voxels };
  }

  /**
   * Runs action tokens through all layers.
   * @param positions normalised, [B, S, L, 3]
   * @param timesteps one a sample, [B·S], any dtype and device
   * @param poseQueries how many of the S samples, the last ones, ask for a pose
   * @returns [B, S, L, d]
   */
  private act(scene: EncodedScene, positions: Tensor, timesteps: Tensor, poseQueries: number): Tensor {
    const { embedDim: d, numHeads, positionFrequencies, ropeScale } = this.settings;
    const [size, samples, horizon] = positions.shape as [number, number, number];
    const tokens = samples * horizon;
    const embedded = this.action.forward(positionFeatures(positions, positionFrequencies)).add(this.horizonEmbedding);
    const world = this.normalizer.denormalize(positions).reshape([size, tokens, 3]);
    const { device } = positions;
    const item = itemOfRow(size, tokens, device);
    const layout = {
      samples,
      tokensPerSample: horizon,
      mask: actionMask(scene.layout, samples, horizon),
      rotary: rotaryTable(this.normalizer.centered(world), d / numHeads, { scale: ropeScale }),
      timestep: this.timestep.forward(timesteps.to(device).reshape([size, samples])),
    };
    const maps = new Map<VoxelHash, LocalKernelMap>();
    for (const hash of scene.voxels)
      if (!maps.has(hash)) maps.set(hash, hash.localKernelMap(world.flatten(0, 1), item));
    const asking = poseQueries === 0 ? embedded : embedded.add(this.poseQueryEmbedding(scene, samples, poseQueries));
    const neighbours = scene.voxels.map((hash) => maps.get(hash)!);
    const hidden = this.blocks.act(asking.reshape([size, tokens, d]), layout, scene.memories, neighbours);
    return hidden.reshape([size, samples, horizon, d]);
  }

  // What the last `poseQueries` of all samples add to their tokens, 0 for the others: [B, S, 1, d].
  private poseQueryEmbedding(scene: EncodedScene, samples: number, poseQueries: number): Tensor {
    const asks = Float32Array.from({ length: samples }, (_, j) => Number(j >= samples - poseQueries));
    const { device } = scene.gripper;
    return tensor(asks, { shape: [samples, 1, 1], device }).mul(scene.gripper.unsqueeze(1).add(this.poseQuery));
  }

  /** The model's prediction (noise, by default) for normalised positions [B, S, L, 3] at timesteps [B·S]: like the positions. */
  predict(scene: EncodedScene, positions: Tensor, timesteps: Tensor): Tensor {
    return this.noise.forward(this.noiseNorm.forward(this.act(scene, positions, timesteps, 0)));
  }

  loss(batch: PolicyBatch, generator: Generator): { loss: Tensor; parts: Record<string, Tensor> } {
    const { size } = batch;
    const { horizon, samples, poseQueries, poseJitter, numTrainTimesteps, rotationWeight, openWeight } = this.settings;
    checkTargets("MiniDiffuserLight", batch, horizon);
    const scene = this.encode(batch);
    const { device } = this;
    const target = tensor(batch.targetPosition, { shape: [size, horizon, 3], device });
    const { continuousTimesteps } = this.objective;
    const shape = [horizon, 3];
    const level2 = { batchSize: size, samples, numTrainTimesteps, shape, generator, continuousTimesteps, device };
    const draws = drawLevel2(level2);
    const clean = draws.repeat(this.normalizer.normalize(target));
    const noisy = this.objective.addNoise(clean, draws.noise, draws.timesteps);
    const jitter = randn([size, poseQueries, horizon, 3], { generator, device }).mul(poseJitter);
    const queries = this.normalizer.normalize(target.unsqueeze(1).add(jitter));
    const positions = cat([noisy.reshape([size, samples, horizon, 3]), queries], 1);
    const drawn = draws.timesteps.to("f32").reshape([size, samples]);
    const timesteps = cat([drawn, zeros([size, poseQueries])], 1).flatten();
    const tokens = this.act(scene, positions, timesteps, poseQueries);

    const predicted = this.noise.forward(this.noiseNorm.forward(tokens.narrow(1, 0, samples)));
    const noise = mseLoss(predicted.reshape(clean.shape), this.objective.target(clean, draws.noise, draws.timesteps));
    const { rotation, open } = this.pose.forward(tokens.narrow(1, samples, poseQueries));
    const bins = tensor(batch.targetRotationBins, { shape: [size, 1, horizon * 3], device }).expand([
      size,
      poseQueries,
      horizon * 3,
    ]);
    const opened = tensor(batch.targetOpen, { shape: [size, 1, horizon], device }).expand([size, poseQueries, horizon]);
    const rotationLoss = crossEntropy(rotation.reshape([-1, ROTATION_BINS]), bins.flatten());
    const openLoss = binaryCrossEntropyWithLogits(open, opened);
    return {
      loss: noise.add(rotationLoss.mul(rotationWeight)).add(openLoss.mul(openWeight)),
      parts: { noise, rotation: rotationLoss, open: openLoss },
    };
  }

  sample(observation: Observation, options: SampleOptions): ActionSample {
    return noGrad(() => scope(() => this.denoise(this.encode(observation), options)));
  }

  /** {@link sample} in a scene that is encoded already. */
  denoise(scene: EncodedScene, options: SampleOptions): ActionSample {
    const { candidates = 1, generator, returnTrajectory = false } = options;
    const { horizon } = this.settings;
    const { size } = scene;
    checkCandidates("MiniDiffuserLight", candidates);
    const sampler = createSampler("MiniDiffuserLight", this.noiseProcess(), options);
    const trajectory: Float32Array[] = [];
    return noGrad(() =>
      scope(() => {
        const { device } = this;
        const run = { rows: size * candidates, device, evaluations: sampler.timesteps.length };
        const predict = denoiser(run, (x, timesteps) => this.predict(scene, x, timesteps));
        const record = (x: Tensor): unknown => returnTrajectory && trajectory.push(this.toWorld(x));
        const positions = runSampler(sampler, [size, candidates, horizon, 3], predict, {
          generator,
          record,
          device,
        });
        const tokens = this.act(scene, positions, zeros([size * candidates], { device }), candidates);
        const { rotation, open } = this.pose.forward(tokens);
        return {
          size,
          candidates,
          horizon,
          position: this.toWorld(positions),
          rotationBins: Int32Array.from(argmax(rotation, { dim: -1 }).toFlatArray()),
          open: sigmoid(open).data() as Float32Array,
          ...(returnTrajectory ? { trajectory: concatenate(trajectory) } : {}),
        };
      }),
    );
  }

  private toWorld(positions: Tensor): Float32Array {
    return scope(() => this.normalizer.denormalize(positions).data() as Float32Array);
  }

  stepFlops(batch: Pick<PolicyBatch, "size" | "pointsPerScene" | "instructionTokens">): number {
    return lightStepFlops(this.settings, batch);
  }
}

/** The factory behind `--model mini-diffuser-light`. */
export const miniDiffuserLight: PolicyFactory = {
  name: "mini-diffuser-light",
  defaults: lightDefaults(),
  create: (options, statistics, generator) =>
    new MiniDiffuserLight(
      { ...options, instructionDim: statistics.instructionDim, positionBounds: statistics.positionBounds },
      { generator },
    ),
  fromConfig: (config, generator) => new MiniDiffuserLight(config, { generator }),
};
