import { LayerNorm, Linear, MLP, Module, type Parameter, parameter, TimestepEmbedding } from "@md/nn";
import { cat, type Generator, randn, rotaryTable, type Tensor, type VoxelHash } from "@md/tensor";
import { actionMask, type BlockMemory, type ConditionLayout, NonInvasiveBlock } from "../light/block.js";
import { BlockStack } from "../light/block-stack.js";
import { type ObservationTensors, SceneEncoder } from "../light/scene-encoder.js";
import { itemOfRow } from "../item-of-row.js";
import type { Observation } from "../policy.js";
import { positionFeatureDim, positionFeatures, PositionNormalizer } from "../positions.js";
import type { DiffuserActorConfig } from "./config.js";

/** Numbers of a pose: normalised position, first and second column of the rotation matrix. */
export const POSE_DIM = 9;

/** The stacks of layers of {@link DiffuserActorNetwork}. */
export type ActorStack = "cross" | "self" | "position" | "rotation";

/** What every denoising step reads of the scenes, computed once. */
export interface EncodedActorScene {
  /** B. */
  size: number;
  layout: ConditionLayout;
  /** The gripper's token, [B, 1, d]. */
  gripper: Tensor;
  /** Of the scene points; null without local query. */
  voxels: VoxelHash | null;
  /** One a layer. */
  memories: Readonly<Record<ActorStack, BlockMemory[]>>;
}

/**
 * The network of A.2: 3D Diffuser Actor's stacks of layers, with {@link NonInvasiveBlock}s in place of its attention.
 * Noised poses read the scene (`cross`), then layers follow in which the condition reads itself too (`self`), then a
 * branch for the position and the gripper and one for the rotation. Timestep and gripper modulate the actions. Where
 * theirs reads a fifth of the scene tokens after the first stack, every layer here reads all.
 */
export class DiffuserActorNetwork extends Module {
  readonly normalizer: PositionNormalizer;
  private readonly scene: SceneEncoder;
  private readonly pose: MLP;
  private readonly timestep: TimestepEmbedding;
  /** Place of a token in its action sequence. */
  private readonly horizonEmbedding: Parameter;
  private readonly cross: BlockStack;
  private readonly self: BlockStack;
  private readonly position: BlockStack;
  private readonly rotation: BlockStack;
  private readonly positionNorm: LayerNorm;
  private readonly rotationNorm: LayerNorm;
  private readonly positionOut: Linear;
  private readonly rotationOut: Linear;
  private readonly open: MLP;

  constructor(
    private readonly config: Readonly<DiffuserActorConfig>,
    options: { generator: Generator },
  ) {
    super();
    const { embedDim: d, numHeads, mlpRatio, horizon, localVoxelSize, positionFrequencies } = config;
    const localQuery = localVoxelSize > 0;
    const stack = (layers: number): BlockStack =>
      new BlockStack(
        Array.from({ length: layers }, () => new NonInvasiveBlock(d, numHeads, mlpRatio, { ...options, localQuery })),
      );
    const voxelSizes = localQuery ? [localVoxelSize] : [];
    this.normalizer = new PositionNormalizer(config.positionBounds);
    this.scene = new SceneEncoder("DiffuserActor", { ...config, voxelSizes }, this.normalizer, options);
    this.pose = new MLP([positionFeatureDim(positionFrequencies) + POSE_DIM - 3, d, d], options);
    this.timestep = new TimestepEmbedding(d, d, options);
    this.horizonEmbedding = parameter(() => randn([horizon, d], options).mul(0.02));
    this.cross = stack(config.crossLayers);
    this.self = stack(config.selfLayers);
    this.position = stack(config.headLayers);
    this.rotation = stack(config.headLayers);
    this.positionNorm = new LayerNorm(d);
    this.rotationNorm = new LayerNorm(d);
    this.positionOut = new Linear(d, 3, options);
    this.rotationOut = new Linear(d, POSE_DIM - 3, options);
    this.open = new MLP([d, d, 1], options);
  }

  /** Brings scenes to the device. ShapeError and ValueError for those that do not fit. */
  read(observation: Observation): ObservationTensors {
    return this.scene.read(observation);
  }

  /** Runs the condition tokens through all layers. */
  encode(observation: ObservationTensors): EncodedActorScene {
    const { hidden, gripper, layout, voxels: bySize } = this.scene.forward(observation);
    const voxels = bySize.get(this.config.localVoxelSize) ?? null;
    const run = (stack: BlockStack, tokens: Tensor, updating: number): ReturnType<BlockStack["remember"]> =>
      stack.remember(tokens, layout, new Array<VoxelHash | null>(stack.length).fill(voxels), updating);
    const { memories: cross } = run(this.cross, hidden, 0);
    const { memories: self, hidden: read } = run(this.self, hidden, this.self.length);
    // Nothing reads the condition tokens after the last layer of a branch.
    const [position, rotation] = [this.position, this.rotation].map(
      (branch) => run(branch, read, branch.length - 1).memories,
    ) as [BlockMemory[], BlockMemory[]];
    return {
      size: observation.points.shape[0]!,
      layout,
      gripper,
      voxels,
      memories: { cross, self, position, rotation },
    };
  }

  /**
   * What the network makes of noised poses.
   *
   * @param poses [B, S, L, 9]
   * @param timesteps one a sample, [B·S], any dtype and device
   * @returns prediction (noise, by default), like `poses`, and logits of "open", [B, S, L]
   */
  predict(scene: EncodedActorScene, poses: Tensor, timesteps: Tensor): { prediction: Tensor; open: Tensor } {
    const { embedDim: d, numHeads, positionFrequencies, ropeScale } = this.config;
    const { memories, voxels } = scene;
    const [size, samples, horizon] = poses.shape as [number, number, number];
    const tokens = samples * horizon;
    const { device } = poses;
    const positions = poses.narrow(-1, 0, 3);
    const world = this.normalizer.denormalize(positions).reshape([size, tokens, 3]);
    const layout = {
      samples,
      tokensPerSample: horizon,
      mask: actionMask(scene.layout, samples, horizon),
      rotary: rotaryTable(this.normalizer.centered(world), d / numHeads, { scale: ropeScale }),
      timestep: this.timestep.forward(timesteps.to(device).reshape([size, samples])).add(scene.gripper),
    };
    const item = itemOfRow(size, tokens, device);
    const neighbours = voxels && voxels.localKernelMap(world.flatten(0, 1), item);
    const act = (name: ActorStack, x: Tensor): Tensor =>
      this[name].act(x, layout, memories[name], new Array<typeof neighbours>(this[name].length).fill(neighbours));

    const features = cat([positionFeatures(positions, positionFrequencies), poses.narrow(-1, 3, POSE_DIM - 3)], -1);
    const embedded = this.pose.forward(features).add(this.horizonEmbedding).reshape([size, tokens, d]);
    const shared = act("self", act("cross", embedded));
    const position = this.positionNorm.forward(act("position", shared));
    const rotation = this.rotationNorm.forward(act("rotation", shared));
    return {
      prediction: cat([this.positionOut.forward(position), this.rotationOut.forward(rotation)], -1).reshape(
        poses.shape,
      ),
      open: this.open.forward(position).reshape([size, samples, horizon]),
    };
  }
}
