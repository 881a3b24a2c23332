import {
  assign,
  batchNorm,
  groupNorm,
  layerNorm,
  type ModulationOptions,
  noGrad,
  ones,
  scope,
  ShapeError,
  tensor,
  type Tensor,
  zeros,
} from "@md/tensor";
import { Module } from "../module.js";
import { type Parameter, parameter } from "../parameter.js";
import type { LayerOptions } from "./options.js";

export interface NormOptions extends LayerOptions {
  /** Added to the variance. Default 1e-5. */
  eps?: number;
  /** Whether there is a learned scale (weight, from 1) and shift (bias, from 0). Default true. */
  affine?: boolean;
}

abstract class AffineModule extends Module {
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  readonly eps: number;

  constructor(shape: readonly number[], { dtype, eps = 1e-5, affine = true }: NormOptions) {
    super();
    this.weight = affine ? parameter(() => ones(shape, { dtype })) : null;
    this.bias = affine ? parameter(() => zeros(shape, { dtype })) : null;
    this.eps = eps;
  }
}

/**
 * Normalises the last axes (Ba et al., 2016): [..., ...normalizedShape] -> the same. Weight and bias have that shape; a
 * condition may scale and shift the result in the same pass.
 */
export class LayerNorm extends AffineModule {
  readonly normalizedShape: readonly number[];

  constructor(normalizedShape: number | readonly number[], options: NormOptions = {}) {
    const shape = typeof normalizedShape === "number" ? [normalizedShape] : normalizedShape;
    super(shape, options);
    this.normalizedShape = shape;
  }
  forward(x: Tensor, modulation: ModulationOptions = {}): Tensor {
    const { weight, bias, eps, normalizedShape } = this;
    if (String(x.shape.slice(-normalizedShape.length)) !== String(normalizedShape)) {
      throw new ShapeError(`[LayerNorm] x has shape [${x.shape}], expected [..., ${normalizedShape}]`);
    }
    if (weight || normalizedShape.length === 1) return layerNorm(x, { weight, bias, eps, ...modulation });
    const flat = (part: Tensor): Tensor => part.reshape([...part.shape.slice(0, -normalizedShape.length), -1]);
    const { scale, shift } = modulation;
    const flatModulation = { scale: scale && flat(scale), shift: shift && flat(shift) };
    return layerNorm(flat(x), { eps, ...flatModulation }).reshape(x.shape);
  }
}

/** Normalises each group of channels of each item (Wu & He, 2018): [batch, channels, ...] -> the same. */
export class GroupNorm extends AffineModule {
  constructor(
    readonly numGroups: number,
    readonly numChannels: number,
    options: NormOptions = {},
  ) {
    super([numChannels], options);
    if (!(numChannels % numGroups === 0)) {
      throw new ShapeError(`[GroupNorm] ${numChannels} channels do not divide into ${numGroups} groups`);
    }
  }
  forward(x: Tensor): Tensor {
    const { weight, bias, eps } = this;
    return groupNorm(x, this.numGroups, { weight, bias, eps });
  }
}

/**
 * Normalises each channel over the batch (Ioffe & Szegedy, 2015). In training with the statistics of the batch, which
 * move the running ones; in evaluation with the running ones. The running variance is unbiased, as in PyTorch.
 */
abstract class BatchNorm extends AffineModule {
  /** Share of the new statistics in the running ones. */
  readonly momentum: number;
  /** [numFeatures], from 0. */
  readonly runningMean: Tensor;
  /** [numFeatures], from 1. */
  readonly runningVar: Tensor;
  /** i64 scalar. */
  readonly numBatchesTracked: Tensor;

  constructor(
    readonly numFeatures: number,
    { momentum = 0.1, ...options }: NormOptions & { momentum?: number } = {},
  ) {
    super([numFeatures], options);
    const { dtype } = options;
    this.momentum = momentum;
    this.runningMean = this.registerBuffer("running_mean", zeros([numFeatures], { dtype }));
    this.runningVar = this.registerBuffer("running_var", ones([numFeatures], { dtype }));
    this.numBatchesTracked = this.registerBuffer("num_batches_tracked", tensor(0, { dtype: "i64" }));
  }

  /** What the axes behind the features may be. */
  protected abstract get trailing(): readonly (readonly string[])[];

  forward(x: Tensor): Tensor {
    const { weight, bias, eps } = this;
    if (!this.trailing.some((axes) => x.rank === 2 + axes.length) || x.shape[1] !== this.numFeatures) {
      const expected = this.trailing.map((axes) => `[${["batch", this.numFeatures, ...axes].join(", ")}]`);
      throw new ShapeError(`[${this.constructor.name}] x has shape [${x.shape}], expected ${expected.join(" or ")}`);
    }
    if (!this.training) {
      const { output, mean, variance } = batchNorm(x, {
        weight,
        bias,
        eps,
        mean: this.runningMean,
        variance: this.runningVar,
      });
      mean.dispose();
      variance.dispose();
      return output;
    }
    const { output, mean, variance } = batchNorm(x, { weight, bias, eps });
    const count = x.size / this.numFeatures;
    noGrad(() =>
      scope(() => {
        this.#track(this.runningMean, mean);
        this.#track(this.runningVar, variance.mul(count / (count - 1)));
        assign(this.numBatchesTracked, this.numBatchesTracked.add(1));
      }),
    );
    mean.dispose();
    variance.dispose();
    return output;
  }

  #track(running: Tensor, current: Tensor): void {
    assign(running, running.mul(1 - this.momentum).add(current.mul(this.momentum)));
  }
}

/** Batch normalisation of [batch, features] or [batch, features, length] -> the same. */
export class BatchNorm1d extends BatchNorm {
  protected get trailing(): readonly (readonly string[])[] {
    return [[], ["length"]];
  }
}

/** Batch normalisation of images: [batch, features, height, width] -> the same. */
export class BatchNorm2d extends BatchNorm {
  protected get trailing(): readonly (readonly string[])[] {
    return [["height", "width"]];
  }
}
