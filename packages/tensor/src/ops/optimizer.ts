import { native } from "@md/native";
import { executeAll } from "../primitives.js";
import type { Tensor } from "../tensor.js";

// These change tensors in place and are not recorded: use them between a backward pass and the next forward pass, when
// no graph holds the old values. All are parallel over the elements of all tensors together.

export interface OptimizerAttrs {
  adamwStep: object;
  emaUpdate: object;
  globalNorm: object;
}

const slotsOf = (tensors: readonly Tensor[]): Int32Array => Int32Array.from(tensors, (x) => x.slot);

export interface AdamWState {
  parameters: readonly Tensor[];
  grads: readonly Tensor[];
  /** Running means of the gradients, zero at the start. */
  expAvgs: readonly Tensor[];
  /** Running means of the squared gradients, zero at the start. */
  expAvgSqs: readonly Tensor[];
}
export interface AdamWOptions {
  lr: number;
  betas: readonly [number, number];
  eps: number;
  weightDecay: number;
  /** 1 for the first update: sets the bias correction. */
  step: number;
  /** What gradients are multiplied by on their way in, as clipping their norm does; at least 0. Default 1. */
  gradScale?: number;
}

/**
 * One AdamW update (Loshchilov & Hutter, 2019; torch.optim.AdamW's order) of `parameters`, `expAvgs` and `expAvgSqs` in
 * place. The four tensors of one index have the same shape and dtype, f32 or f64; those updated are contiguous.
 * ShapeError, DTypeError, UnsupportedError or ValueError name the list and index; nothing is changed then.
 */
export function adamwStep(state: AdamWState, { lr, betas, eps, weightDecay, step, gradScale = 1 }: AdamWOptions): void {
  const { parameters, grads, expAvgs, expAvgSqs } = state;
  executeAll("adamwStep", [...parameters, ...grads, ...expAvgs, ...expAvgSqs], {}, 0, () =>
    native.adamwStep(
      slotsOf(parameters),
      slotsOf(grads),
      slotsOf(expAvgs),
      slotsOf(expAvgSqs),
      lr,
      betas[0],
      betas[1],
      eps,
      weightDecay,
      step,
      gradScale,
    ),
  );
}

/** √Σx² over all elements of all tensors, accumulated in f64 in a fixed order; 0 for no tensors. */
export function globalNorm(tensors: readonly Tensor[]): number {
  let norm = 0;
  executeAll("globalNorm", tensors, {}, 0, () => (norm = native.globalNorm(slotsOf(tensors))));
  return norm;
}

/** average ← decay · average + (1 - decay) · tensor for each pair, in place; averages are contiguous. */
export function emaUpdate(averages: readonly Tensor[], tensors: readonly Tensor[], decay: number): void {
  executeAll("emaUpdate", [...averages, ...tensors], {}, 0, () =>
    native.emaUpdate(slotsOf(averages), slotsOf(tensors), decay),
  );
}
