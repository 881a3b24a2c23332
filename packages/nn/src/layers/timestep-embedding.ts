import { cat, cos, sin, tensor, type Tensor, ValueError, zeros } from "@md/tensor";
import { Module } from "../module.js";
import { Linear } from "./linear.js";
import type { RandomLayerOptions } from "./options.js";

export interface SinusoidalOptions {
  /** Cosines before sines. Default false. */
  flipSinToCos?: boolean;
  /** Subtracted from the count of frequencies in their exponent's denominator. Default 1. */
  downscaleFreqShift?: number;
  /** Factor of the angles. Default 1. */
  scale?: number;
  /** Ratio of the highest to the lowest frequency. Default 10000. */
  maxPeriod?: number;
  /** Default f32. */
  dtype?: "f32" | "f64";
}

/**
 * Sinusoidal embedding of timesteps (Ho et al., 2020, with diffusers' options and numbers): [...] of whatever dtype ->
 * [..., dim], sines then cosines of t · maxPeriod^(-i / (dim/2 - downscaleFreqShift)); an odd `dim` ends with 0.
 */
export function timestepEmbedding(
  timesteps: Tensor,
  dim: number,
  { flipSinToCos = false, downscaleFreqShift = 1, scale = 1, maxPeriod = 10000, dtype = "f32" }: SinusoidalOptions = {},
): Tensor {
  const half = Math.floor(dim / 2);
  if (!(half - downscaleFreqShift > 0)) {
    throw new ValueError(`[timestepEmbedding] dim is ${dim}, expected more than ${2 * downscaleFreqShift + 1}`);
  }
  const frequencies = Array.from({ length: half }, (_, i) => scale * maxPeriod ** (-i / (half - downscaleFreqShift)));
  const { device } = timesteps;
  const angles = timesteps.to(dtype).unsqueeze(-1).mul(tensor(frequencies, { dtype, device }));
  const parts = flipSinToCos ? [cos(angles), sin(angles)] : [sin(angles), cos(angles)];
  if (dim % 2 === 1) parts.push(zeros([...timesteps.shape, 1], { dtype, device }));
  return cat(parts, -1);
}

export interface TimestepEmbeddingOptions extends RandomLayerOptions, Omit<SinusoidalOptions, "dtype"> {}

/** {@link timestepEmbedding}, then Linear, SiLU, Linear: timesteps [...] -> [..., embedDim]. Names are diffusers'. */
export class TimestepEmbedding extends Module {
  readonly linear1: Linear;
  readonly linear2: Linear;
  readonly #sinusoidal: SinusoidalOptions;

  /** @param sinusoidalDim width of the sinusoidal embedding */
  constructor(
    readonly sinusoidalDim: number,
    readonly embedDim: number,
    { generator, dtype, ...sinusoidal }: TimestepEmbeddingOptions,
  ) {
    super();
    this.linear1 = this.registerModule(
      "linear_1",
      new Linear(sinusoidalDim, embedDim, { generator, dtype, activation: "silu" }),
    );
    this.linear2 = this.registerModule("linear_2", new Linear(embedDim, embedDim, { generator, dtype }));
    this.#sinusoidal = { ...sinusoidal, dtype };
  }
  forward(timesteps: Tensor): Tensor {
    const sinusoids = timestepEmbedding(timesteps, this.sinusoidalDim, this.#sinusoidal);
    return this.linear2.forward(this.linear1.forward(sinusoids));
  }
}
