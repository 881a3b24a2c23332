import { native, ValueError } from "@md/native";
import { lowered } from "../autocast.js";
import { execute, executeAll } from "../primitives.js";
import type { Tensor } from "../tensor.js";
import { MAX_INT32 } from "./shape.js";

/** One number for both axes, or [y, x]. */
export type Pair = number | readonly [y: number, x: number];

export interface ImageAttrs {
  /** stride, padding, dilation (y and x each), groups. */
  conv2d: { options: readonly number[] };
  conv2dInputGrad: object;
  conv2dWeightGrad: object;
  maxPool2d: object;
  maxPool2dGrad: object;
  /** kernel, stride, padding (y and x each). */
  avgPool2d: { options: readonly number[] };
  avgPool2dGrad: object;
  interpolate: { alignCorners: boolean };
  interpolateGrad: object;
}

// Pairs one after the other; integers only, so that nothing is cut off at the border.
function flatten(op: string, pairs: readonly Pair[]): number[] {
  const numbers = pairs.flatMap((pair) => (typeof pair === "number" ? [pair, pair] : [...pair]));
  for (const value of numbers) {
    if (!Number.isInteger(value) || Math.abs(value) > MAX_INT32)
      throw new ValueError(`[${op}] found ${value}, expected an integer from -${MAX_INT32} to ${MAX_INT32}`);
  }
  return numbers;
}

export interface Conv2dOptions {
  /** [out]. Default none. */
  bias?: Tensor | null;
  /** Default 1. */
  stride?: Pair;
  /** Zeros on each side. Default 0. */
  padding?: Pair;
  /** Default 1. */
  dilation?: Pair;
  /** Channels are convolved in this many separate groups. Default 1. */
  groups?: number;
}

/**
 * Cross-correlation of x [batch, in, height, width] with weight [out, in / groups, kernelY, kernelX], plus bias; f32 and
 * f64. An output extent is ⌊(extent + 2 padding - dilation (kernel - 1) - 1) / stride⌋ + 1.
 *
 * @throws ShapeError where weight, bias or groups do not fit x or the kernel exceeds the image; ValueError, DTypeError
 */
export function conv2d(
  x: Tensor,
  weight: Tensor,
  { bias = null, stride = 1, padding = 0, dilation = 1, groups = 1 }: Conv2dOptions = {},
): Tensor {
  [x, weight, bias] = lowered(x, weight, bias);
  const options = flatten("conv2d", [stride, padding, dilation, [groups, groups]]).slice(0, 7);
  return execute("conv2d", [x, weight, bias], { options }, () =>
    native.conv2d(x.slot, weight.slot, bias?.slot ?? -1, Int32Array.from(options)),
  );
}

export function conv2dInputGrad(
  grad: Tensor,
  weight: Tensor,
  shape: readonly number[],
  options: readonly number[],
): Tensor {
  return execute("conv2dInputGrad", [grad, weight], {}, () =>
    native.conv2dInputGrad(grad.slot, weight.slot, Int32Array.from(shape), Int32Array.from(options)),
  );
}

export function conv2dWeightGrad(
  grad: Tensor,
  x: Tensor,
  shape: readonly number[],
  options: readonly number[],
): Tensor {
  return execute("conv2dWeightGrad", [grad, x], {}, () =>
    native.conv2dWeightGrad(grad.slot, x.slot, Int32Array.from(shape), Int32Array.from(options)),
  );
}

export interface Pool2dOptions {
  /** Default: the kernel. */
  stride?: Pair;
  /** At most half of the kernel. Default 0. */
  padding?: Pair;
}

/**
 * Maximum over windows of x [batch, channels, height, width]; f32 and f64. Padding never wins; the first of equals gets
 * the gradient. An output extent is ⌊(extent + 2 padding - kernel) / stride⌋ + 1.
 */
export function maxPool2d(x: Tensor, kernel: Pair, { stride = kernel, padding = 0 }: Pool2dOptions = {}): Tensor {
  const options = Int32Array.from(flatten("maxPool2d", [kernel, stride, padding]));
  const [y, indices] = executeAll("maxPool2d", [x], {}, 2, () => native.maxPool2d(x.slot, options));
  indices!.dispose();
  return y!;
}

export function maxPool2dGrad(grad: Tensor, indices: Tensor, shape: readonly number[]): Tensor {
  return execute("maxPool2dGrad", [grad, indices], {}, () =>
    native.maxPool2dGrad(grad.slot, indices.slot, Int32Array.from(shape)),
  );
}

/** Mean over windows of x [batch, channels, height, width], padding counted as zeros; f32 and f64. Extents as in {@link maxPool2d}. */
export function avgPool2d(x: Tensor, kernel: Pair, { stride = kernel, padding = 0 }: Pool2dOptions = {}): Tensor {
  const options = flatten("avgPool2d", [kernel, stride, padding]);
  return execute("avgPool2d", [x], { options }, () => native.avgPool2d(x.slot, Int32Array.from(options)));
}

export function avgPool2dGrad(grad: Tensor, shape: readonly number[], options: readonly number[]): Tensor {
  return execute("avgPool2dGrad", [grad], {}, () =>
    native.avgPool2dGrad(grad.slot, Int32Array.from(shape), Int32Array.from(options)),
  );
}

/**
 * x [batch, channels, height, width] resized to `size` by bilinear interpolation; f32 and f64. Pixels are areas, as in
 * PyTorch's default, or, with `alignCorners`, points whose outermost coincide.
 */
export function interpolate(x: Tensor, size: Pair, { alignCorners = false }: { alignCorners?: boolean } = {}): Tensor {
  const [height, width] = flatten("interpolate", [size]);
  return execute("interpolate", [x], { alignCorners }, () => native.interpolate(x.slot, height!, width!, alignCorners));
}

export function interpolateGrad(grad: Tensor, height: number, width: number, alignCorners: boolean): Tensor {
  return execute("interpolateGrad", [grad], {}, () => native.interpolateGrad(grad.slot, height, width, alignCorners));
}
