import { native } from "@md/native";
import { execute, executeAll } from "../primitives.js";
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
export interface AdamWConstants {
  betas: readonly [number, number];
  eps: number;
  weightDecay: number;
}
export interface AdamWNumbers {
  lr: number;
  /** 1 for the first update: sets the bias correction. */
  step: number;
  /** What gradients are multiplied by on their way in, as clipping their norm does; at least 0. Default 1. */
  gradScale?: number;
}
/**
 * The same as scalars beside the parameters, which are read when the update is done: a `CudaGraph` of it can be replayed
 * with others.
 */
export interface AdamWTensors {
  /** f64 []. */
  lr: Tensor;
  /** i64 []: the updates done so far. This one counts it up, in place. */
  step: Tensor;
  /** f64 []. */
  gradScale: Tensor;
}

/**
 * One AdamW update (Loshchilov & Hutter, 2019; torch.optim.AdamW's order) of `parameters`, `expAvgs` and `expAvgSqs` in
 * place. The four tensors of one index have the same shape and dtype, f32 or f64; those updated are contiguous and
 * share no elements.
 * ShapeError, DTypeError, UnsupportedError or ValueError name the list and index; nothing is changed then. Tensors of
 * {@link AdamWTensors} that are not finite change nothing either: on a device the ValueError comes when the host next waits.
 */
export function adamwStep(
  { parameters, grads, expAvgs, expAvgSqs }: AdamWState,
  { betas, eps, weightDecay, ...step }: AdamWConstants & (AdamWNumbers | AdamWTensors),
): void {
  const scalars = isOfTensors(step) ? [step.lr, step.step, step.gradScale] : [];
  executeAll("adamwStep", [...parameters, ...grads, ...expAvgs, ...expAvgSqs, ...scalars], {}, 0, () =>
    native.adamwStep(
      slotsOf(parameters),
      slotsOf(grads),
      slotsOf(expAvgs),
      slotsOf(expAvgSqs),
      ...betas,
      eps,
      weightDecay,
      isOfTensors(step) ? slotsOf(scalars) : Float64Array.of(step.lr, step.step, step.gradScale ?? 1),
    ),
  );
}

const isOfTensors = (step: AdamWNumbers | AdamWTensors): step is AdamWTensors => typeof step.lr !== "number";

/** √Σx² over all elements of all tensors, f64 [], accumulated in f64 in a fixed order; 0 on the CPU for no tensors. */
export const globalNorm = (tensors: readonly Tensor[]): Tensor =>
  execute("globalNorm", tensors, {}, () => native.globalNorm(slotsOf(tensors)));

/** average ← decay · average + (1 - decay) · tensor for each pair, in place; averages are contiguous and share no elements. */
export function emaUpdate(averages: readonly Tensor[], tensors: readonly Tensor[], decay: number): void {
  executeAll("emaUpdate", [...averages, ...tensors], {}, 0, () =>
    native.emaUpdate(slotsOf(averages), slotsOf(tensors), decay),
  );
}
