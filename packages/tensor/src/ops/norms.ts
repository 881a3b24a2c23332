import { native, ValueError } from "@md/native";
import { raised, widened } from "../autocast.js";
import { isRecorded } from "../autograd.js";
import { executeAll } from "../primitives.js";
import type { Tensor } from "../tensor.js";
import { clamp, div, sqrt, square } from "./elementwise.js";
import { sum } from "./reduce.js";
import { product } from "./shape.js";
import { reshape } from "./views.js";

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

/** What a condition makes of a normed x: x · (1 + scale) + shift; both or none. */
export interface ModulationOptions {
  /** The first of x's leading axes, as many as it has, then the normalised ones: x [B, T, d] takes [B, T, d], [B, d], [d]. */
  scale?: Tensor | null;
  /** Like scale. */
  shift?: Tensor | null;
}

/**
 * (x - mean) / √(variance + eps) · weight + bias over the last axes, as many as weight or bias have, or the last one
 * (Ba et al., 2016), then modulated (Perez et al., "FiLM", 2018; adaptive LayerNorm) in the same pass; f32 and f64.
 *
 * @throws ShapeError where operands do not match x, ValueError for one of scale and shift
 */
export function layerNorm(
  x: Tensor,
  { weight = null, bias = null, scale = null, shift = null, eps = 1e-5 }: AffineOptions & ModulationOptions = {},
): Tensor {
  const axes = weight?.rank ?? bias?.rank ?? 1;
  [x, weight, bias, scale, shift] = raised(x, weight, bias, scale, shift);
  const operands = [x, weight, bias, scale, shift];
  const save = isRecorded(operands);
  const [y, mean, rstd] = executeAll("layerNorm", operands, { axes }, save ? 3 : 1, () =>
    native.layerNorm(x.slot, slotOf(weight), slotOf(bias), slotOf(scale), slotOf(shift), axes, eps, save),
  );
  mean?.dispose();
  rstd?.dispose();
  return y!;
}

/** Gradients of x, plus `earlier`, of weight and bias where `affine`, and of scale and shift where there is a scale; else null. */
export function layerNormGrad(
  [x, weight, bias, scale]: readonly (Tensor | null)[],
  mean: Tensor,
  rstd: Tensor,
  grad: Tensor,
  earlier: Tensor | null,
  axes: number,
  affine: boolean,
): (Tensor | null)[] {
  // Where every row has a shift of its own, its gradient is the cotangent.
  const own = scale && product(x!.shape.slice(scale.rank - axes, x!.rank - axes)) === 1;
  const outputs = 1 + (affine ? 2 : 0) + (scale ? (own ? 1 : 2) : 0);
  const [w, b, s, e] = [weight, bias, scale, earlier].map(slotOf) as [number, number, number, number];
  const operands = [x!, weight!, bias!, scale!, mean, rstd, grad, earlier];
  const [ofX, ...others] = executeAll("layerNormGrad", operands, {}, outputs, () =>
    native.layerNormGrad(x!.slot, w, b, s, mean.slot, rstd.slot, grad.slot, e, axes, affine),
  );
  const [ofWeight, ofBias] = affine ? others.splice(0, 2) : [null, null];
  const [ofScale, ofShift] = others;
  return [ofX!, ofWeight!, ofBias!, ofScale ?? null, own ? reshape(grad, scale.shape) : (ofShift ?? null)];
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
