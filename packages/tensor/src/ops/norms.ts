import { native, ValueError } from "@md/native";
import { raised, widened } from "../autocast.js";
import { executeAll } from "../primitives.js";
import type { Tensor } from "../tensor.js";
import { clamp, div, sqrt, square } from "./elementwise.js";
import { sum } from "./reduce.js";

export interface NormAttrs {
  layerNorm: { axes: number };
  layerNormGrad: object;
  groupNorm: { groups: number };
  groupNormGrad: object;
  batchNorm: { eps: number; fromBatch: boolean };
  batchNormGrad: object;
}

/** Scale and shift after a normalisation, each absent by default. */
export interface AffineOptions {
  weight?: Tensor | null;
  bias?: Tensor | null;
  /** Added to the variance. Default 1e-5. */
  eps?: number;
}

const slotOf = (x: Tensor | null | undefined): number => x?.slot ?? -1;

/**
 * (x - mean) / √(variance + eps) · weight + bias over the last axes, as many as weight or bias have, or the last one
 * (Ba et al., 2016); f32 and f64. ShapeError where weight or bias do not match those axes.
 */
export function layerNorm(x: Tensor, { weight = null, bias = null, eps = 1e-5 }: AffineOptions = {}): Tensor {
  const axes = weight?.rank ?? bias?.rank ?? 1;
  [x, weight, bias] = raised(x, weight, bias);
  const [y, mean, rstd] = executeAll("layerNorm", [x, weight, bias], { axes }, 3, () =>
    native.layerNorm(x.slot, slotOf(weight), slotOf(bias), axes, eps),
  );
  mean!.dispose();
  rstd!.dispose();
  return y!;
}

/** Gradients of x and, where `affine`, of weight and bias. */
export function layerNormGrad(
  x: Tensor,
  weight: Tensor | null,
  mean: Tensor,
  rstd: Tensor,
  grad: Tensor,
  axes: number,
  affine: boolean,
): Tensor[] {
  return executeAll("layerNormGrad", [x, weight, mean, rstd, grad], {}, affine ? 3 : 1, () =>
    native.layerNormGrad(x.slot, slotOf(weight), mean.slot, rstd.slot, grad.slot, axes, affine),
  );
}

/**
 * Normalises each of `groups` groups of channels of each item of x [batch, channels, ...] (Wu & He, 2018); weight and bias
 * are [channels]; f32 and f64. ShapeError unless `groups` divides the channels.
 */
export function groupNorm(
  x: Tensor,
  groups: number,
  { weight = null, bias = null, eps = 1e-5 }: AffineOptions = {},
): Tensor {
  [x, weight, bias] = raised(x, weight, bias);
  const [y, mean, rstd] = executeAll("groupNorm", [x, weight, bias], { groups }, 3, () =>
    native.groupNorm(x.slot, slotOf(weight), slotOf(bias), groups, eps),
  );
  mean!.dispose();
  rstd!.dispose();
  return y!;
}

/** Gradients of x and, where `affine`, of weight and bias. */
export function groupNormGrad(
  x: Tensor,
  weight: Tensor | null,
  mean: Tensor,
  rstd: Tensor,
  grad: Tensor,
  groups: number,
  affine: boolean,
): Tensor[] {
  return executeAll("groupNormGrad", [x, weight, mean, rstd, grad], {}, affine ? 3 : 1, () =>
    native.groupNormGrad(x.slot, slotOf(weight), mean.slot, rstd.slot, grad.slot, groups, affine),
  );
}

export interface BatchNormResult {
  output: Tensor;
  /** [channels], f32 beside f16 and bf16; no gradient flows through it. */
  mean: Tensor;
  /** [channels], biased: over the count of elements; no gradient flows through it. */
  variance: Tensor;
}

/**
 * Normalises each channel of x [batch, channels, ...] (Ioffe & Szegedy, 2015) with the statistics of the batch, which
 * are returned, or with given ones; weight and bias are [channels]; f32 and f64. ShapeError for a batch with fewer than
 * 2 elements a channel.
 */
export function batchNorm(
  x: Tensor,
  {
    weight = null,
    bias = null,
    mean = null,
    variance = null,
    eps = 1e-5,
  }: AffineOptions & { mean?: Tensor | null; variance?: Tensor | null } = {},
): BatchNormResult {
  if (!mean !== !variance) throw new ValueError("[batchNorm] found one of mean and variance, expected both or none");
  const attrs = { eps, fromBatch: !mean };
  [x, weight, bias] = raised(x, weight, bias);
  [mean, variance] = [widened(mean), widened(variance)];
  const [output, usedMean, usedVariance] = executeAll("batchNorm", [x, weight, bias, mean, variance], attrs, 3, () =>
    native.batchNorm(x.slot, slotOf(weight), slotOf(bias), slotOf(mean), slotOf(variance), eps),
  );
  usedMean!.node = null;
  usedVariance!.node = null;
  return { output: output!, mean: usedMean!, variance: usedVariance! };
}

/** Gradients of x, weight and bias. */
export function batchNormGrad(
  x: Tensor,
  weight: Tensor | null,
  mean: Tensor,
  variance: Tensor,
  grad: Tensor,
  { eps, fromBatch }: NormAttrs["batchNorm"],
): Tensor[] {
  return executeAll("batchNormGrad", [x, weight, mean, variance, grad], {}, 3, () =>
    native.batchNormGrad(x.slot, slotOf(weight), mean.slot, variance.slot, grad.slot, eps, fromBatch),
  );
}

/** x / max(‖x‖₂, eps) along `dim` (default the last); eps defaults to 1e-12. A zero vector stays zero. */
export function normalize(x: Tensor, { dim = -1, eps = 1e-12 }: { dim?: number; eps?: number } = {}): Tensor {
  return div(x, sqrt(clamp(sum(square(x), { dim, keepdim: true }), { min: eps * eps })));
}
