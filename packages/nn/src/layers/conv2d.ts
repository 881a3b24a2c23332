import {
  conv2d,
  type Conv2dOptions as ConvolutionOptions,
  type Pair,
  ShapeError,
  type Tensor,
  zeros,
} from "@md/tensor";
import { kaimingUniform } from "../init.js";
import { Module } from "../module.js";
import { type Parameter, parameter } from "../parameter.js";
import type { RandomLayerOptions } from "./options.js";

export interface Conv2dOptions extends RandomLayerOptions, Omit<ConvolutionOptions, "bias"> {
  /** Default true. */
  bias?: boolean;
}

/**
 * Convolution of images: [batch, inChannels, height, width] -> [batch, outChannels, …]. Weight and bias start uniform on
 * ±1/√fanIn, fanIn being the weights of one output.
 */
export class Conv2d extends Module {
  /** [outChannels, inChannels / groups, kernelY, kernelX] */
  readonly weight: Parameter;
  /** [outChannels] */
  readonly bias: Parameter | null;
  readonly #options: Omit<ConvolutionOptions, "bias">;

  /** @param kernelSize one number for both axes, or [y, x] */
  constructor(
    readonly inChannels: number,
    readonly outChannels: number,
    kernelSize: Pair,
    { generator, dtype, bias = true, ...options }: Conv2dOptions,
  ) {
    super();
    const { groups = 1 } = options;
    if (inChannels % groups !== 0 || outChannels % groups !== 0) {
      throw new ShapeError(`[Conv2d] ${inChannels} and ${outChannels} channels do not divide into ${groups} groups`);
    }
    const kernel = typeof kernelSize === "number" ? [kernelSize, kernelSize] : kernelSize;
    const shape = [outChannels, inChannels / groups, ...kernel];
    const fanIn = shape[1]! * shape[2]! * shape[3]!;
    const a = Math.sqrt(5);
    this.weight = parameter(() => kaimingUniform(zeros(shape, { dtype }), { generator, a }));
    this.bias = bias ? parameter(() => kaimingUniform(zeros([outChannels], { dtype }), { generator, a, fanIn })) : null;
    this.#options = options;
  }
  forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, { ...this.#options, bias: this.bias });
  }
}
