import { Linear, MLP, Module, type Parameter, parameter } from "@md/nn";
import { cat, type Generator, masks, randn, rotaryTable, tensor, type Tensor, VoxelHash, zeros } from "@md/tensor";
import { checkObservation } from "../check-batch.js";
import { gripperNumbers } from "../gripper-numbers.js";
import { itemOfRow } from "../item-of-row.js";
import type { Observation } from "../policy.js";
import { positionFeatureDim, positionFeatures, type PositionNormalizer } from "../positions.js";
import type { ConditionLayout } from "./block.js";
import type { MiniDiffuserLightConfig } from "./config.js";

/** Condition tokens of Eq. 11 before the first layer: N scene tokens, the gripper's, T instruction tokens. */
export interface ConditionTokens {
  hidden: Tensor;
  /** The gripper's token by itself, [B, 1, d]. */
  gripper: Tensor;
  layout: ConditionLayout;
  /** Voxels of the scene points by bin size in metres. */
  voxels: Map<number, VoxelHash>;
}

/** An {@link Observation} as the network reads it, on its device. */
export interface ObservationTensors {
  /** World frame, metres, [B, N, 3]. */
  points: Tensor;
  /** RGB in [0, 1], [B, N, 3]. */
  colors: Tensor;
  /** Position, two columns of the rotation matrix and opening of the gripper, [B, 1, 10]. */
  gripper: Tensor;
  /** [B, T, D]. */
  instruction: Tensor;
  /** [B]; the host's. */
  instructionLengths: Int32Array;
}

/** Sizes and settings of {@link SceneEncoder}; see {@link MiniDiffuserLightConfig}. */
export interface SceneEncoderConfig extends Pick<
  MiniDiffuserLightConfig,
  "embedDim" | "numHeads" | "positionFrequencies" | "ropeScale" | "instructionDim"
> {
  /** Bin sizes in metres for which scene points are binned; none without local query. */
  readonly voxelSizes: readonly number[];
}

/** Projects point clouds, instructions and gripper states to tokens. */
export class SceneEncoder extends Module {
  private readonly point: MLP;
  private readonly color: MLP;
  private readonly gripper: MLP;
  private readonly instruction: Linear;
  /** Learned embedding of each kind of context token: gripper, instruction. */
  private readonly modality: Parameter;

  /** @param owner name of the policy, for messages */
  constructor(
    private readonly owner: string,
    private readonly config: Readonly<SceneEncoderConfig>,
    private readonly normalizer: PositionNormalizer,
    options: { generator: Generator },
  ) {
    super();
    const { embedDim: d, positionFrequencies } = config;
    const position = positionFeatureDim(positionFrequencies);
    this.point = new MLP([position, d, d], options);
    // On its own, since among the many features of a position three channels would carry little weight at first.
    this.color = new MLP([3, d, d], options);
    this.gripper = new MLP([position + 7, d, d], options);
    this.instruction = new Linear(config.instructionDim, d, options);
    this.modality = parameter(() => randn([2, d], options).mul(0.1));
  }

  /** Brings scenes to the device. ShapeError and ValueError for those that do not fit. */
  read(observation: Observation): ObservationTensors {
    checkObservation(this.owner, observation, this.config);
    const { size, pointsPerScene, instructionTokens, instructionDim, instructionLengths } = observation;
    const { device } = this;
    return {
      points: tensor(observation.points, { shape: [size, pointsPerScene, 3], device }),
      colors: tensor(observation.colors, { shape: [size, pointsPerScene, 3], device }),
      gripper: tensor(gripperNumbers(observation.proprio, size), { shape: [size, 1, 10], device }),
      instruction: tensor(observation.instruction, { shape: [size, instructionTokens, instructionDim], device }),
      instructionLengths,
    };
  }

  forward({
    points,
    colors,
    gripper: state,
    instruction: words,
    instructionLengths,
  }: ObservationTensors): ConditionTokens {
    const [size, pointsPerScene] = points.shape as [number, number, number];
    const instructionTokens = words.shape[1]!;
    const { embedDim, numHeads, positionFrequencies, ropeScale } = this.config;
    const features = (world: Tensor): Tensor => positionFeatures(this.normalizer.normalize(world), positionFrequencies);

    const { device } = this;
    const scene = this.color.forward(colors.mul(2).sub(1), this.point.forward(features(points)));
    const gripper = this.gripper.forward(cat([features(state.narrow(-1, 0, 3)), state.narrow(-1, 3, 7)], -1));
    const instruction = this.instruction.forward(words);
    const context = [gripper, instruction].map((tokens, kind) => tokens.add(this.modality.narrow(0, kind, 1)));

    const contextTokens = 1 + instructionTokens;
    const places = cat([this.normalizer.centered(points), zeros([size, contextTokens, 3], { device })], 1);
    const item = itemOfRow(size, pointsPerScene, device);
    const voxels = new Map<number, VoxelHash>();
    for (const voxelSize of this.config.voxelSizes)
      if (!voxels.has(voxelSize)) voxels.set(voxelSize, VoxelHash.build(points.flatten(0, 1), item, { voxelSize }));
    const tokens = pointsPerScene + contextTokens;
    const lengths = instructionLengths.map((length) => pointsPerScene + 1 + length);
    return {
      hidden: cat([scene, ...context], 1),
      gripper,
      layout: {
        scenePoints: pointsPerScene,
        tokens,
        lengths,
        mask: masks.level2({ samples: 0, tokensPerSample: 1, conditionTokens: tokens, conditionLengths: lengths }),
        rotary: rotaryTable(places, embedDim / numHeads, { scale: ropeScale }),
      },
      voxels,
    };
  }
}
