import { FiLM, type KeyValue, LayerNorm, LocalKernelQuery, MLP, Module, MultiheadAttention } from "@md/nn";
import {
  type AttentionMask,
  type Generator,
  type LocalKernelMap,
  masks,
  scope,
  type Tensor,
  type VoxelHash,
} from "@md/tensor";

/** What a block keeps of the scene: actions read it at every denoising step, nothing writes it. */
export interface BlockMemory {
  /** Keys and values of the condition tokens. */
  keyValue: KeyValue;
  /** Mean features a voxel of the scene tokens (Eq. 17), [voxels, d]; null without local query. */
  voxelMeans: Tensor | null;
}

/** The condition as the blocks see it. */
export interface ConditionLayout {
  /** Scene tokens N come first, then context tokens C. */
  scenePoints: number;
  tokens: number;
  /** Valid condition tokens of each item, [B]. */
  lengths: Int32Array;
  /** Of condition tokens among themselves. */
  mask: AttentionMask;
  /** Of {@link rotaryTable}, [B, tokens, …]. */
  rotary: Tensor;
}

/** The actions as the blocks see them: M samples of L tokens an item, item-major. */
export interface ActionLayout {
  samples: number;
  tokensPerSample: number;
  /** Eq. 13, rows of the actions. */
  mask: AttentionMask;
  /** Of {@link rotaryTable}, [B, tokens, …]. */
  rotary: Tensor;
  /** Embedded timestep of every sample, [B, M, d]. */
  timestep: Tensor;
}

/** Rows of the actions of Eq. 13: `samples` of `tokensPerSample` tokens an item. */
export const actionMask = (condition: ConditionLayout, samples: number, tokensPerSample: number): AttentionMask =>
  masks.level2({
    samples,
    tokensPerSample,
    conditionTokens: condition.tokens,
    conditionLengths: condition.lengths,
  });

/**
 * One layer of Section 4: masked global attention (Eqs. 12, 13), local kernel query (Eqs. 15–18) and a feed-forward
 * part, FiLM on the timestep for action tokens alone (Eq. 14). Condition tokens never see actions or timesteps, so they
 * are computed by themselves, once a scene, and the actions then read their keys and values: the mask of Eq. 13 by rows.
 */
export class NonInvasiveBlock extends Module {
  private readonly attentionNorm: LayerNorm;
  private readonly attention: MultiheadAttention;
  private readonly attentionFilm: FiLM;
  private readonly local: LocalKernelQuery | null;
  private readonly mlpNorm: LayerNorm;
  private readonly mlp: MLP;
  private readonly mlpFilm: FiLM;

  /** @param options.localQuery whether there is a local kernel query. Default true */
  constructor(
    embedDim: number,
    numHeads: number,
    mlpRatio: number,
    { localQuery = true, ...options }: { generator: Generator; localQuery?: boolean },
  ) {
    super();
    this.attentionNorm = new LayerNorm(embedDim);
    this.attention = new MultiheadAttention(embedDim, numHeads, { qkNorm: true, ...options });
    this.attentionFilm = new FiLM(embedDim, embedDim, options);
    this.local = localQuery ? new LocalKernelQuery(embedDim, embedDim, options) : null;
    this.mlpNorm = new LayerNorm(embedDim);
    this.mlp = new MLP([embedDim, Math.round(embedDim * mlpRatio), embedDim], options);
    this.mlpFilm = new FiLM(embedDim, embedDim, options);
  }

  /**
   * What is read of the condition tokens [B, N + C, d] in this layer, and the tokens as {@link condition} takes them.
   * @param voxels of the scene tokens; null without local query
   */
  remember(hidden: Tensor, layout: ConditionLayout, voxels: VoxelHash | null): { memory: BlockMemory; normed: Tensor } {
    const normed = this.attentionNorm.forward(hidden);
    const voxelMeans = voxels ? voxels.mean(normed.narrow(1, 0, layout.scenePoints).flatten(0, 1)) : null;
    const keyValue = this.attention.projectKeyValue(normed, layout.rotary);
    return { memory: { keyValue, voxelMeans }, normed };
  }

  /** Condition tokens [B, N + C, d] to the next layer's. */
  condition(hidden: Tensor, normed: Tensor, layout: ConditionLayout, { keyValue }: BlockMemory): Tensor {
    const { rotary, mask } = layout;
    return scope(() => {
      const attended = this.attention.attend(normed, keyValue, { rotary, mask, residual: hidden });
      return this.mlp.forward(this.mlpNorm.forward(attended), attended);
    });
  }

  /**
   * Action tokens [B, M·L, d] to the next layer's.
   * @param neighbours of the action tokens; null without local query
   */
  act(actions: Tensor, layout: ActionLayout, memory: BlockMemory, neighbours: LocalKernelMap | null): Tensor {
    const { rotary, mask } = layout;
    const modulated = (norm: LayerNorm, film: FiLM, x: Tensor): Tensor => {
      const bySample = x.reshape([x.shape[0]!, layout.samples, layout.tokensPerSample, -1]);
      return norm.forward(bySample, film.modulation(layout.timestep)).reshape(x.shape);
    };
    return scope(() => {
      const normed = modulated(this.attentionNorm, this.attentionFilm, actions);
      const own = this.attention.projectKeyValue(normed, rotary);
      const attended = this.attention.attend(normed, memory.keyValue, { own, rotary, mask, residual: actions });
      const located = this.local
        ? attended.add(this.local.forward(neighbours!, memory.voxelMeans!).reshape(attended.shape))
        : attended;
      return this.mlp.forward(modulated(this.mlpNorm, this.mlpFilm, located), located);
    });
  }
}
