import { native, ShapeError, ValueError } from "@md/native";
import { raised } from "../autocast.js";
import { execute, executeAll } from "../primitives.js";
import type { Tensor } from "../tensor.js";
import { codeOf } from "./code-of.js";
import { abs, clamp, mul, softplus, square, sub } from "./elementwise.js";
import { mean, sum } from "./reduce.js";
import { sameShape } from "./shape.js";

/** In the order of `enum class Mode` in native/ops/cross_entropy/op.h. */
const lossReductions = ["mean", "sum", "none"] as const;
export type LossReduction = (typeof lossReductions)[number];
export interface LossOptions {
  /** Over all items. Default "mean", which is NaN for no items. */
  reduction?: LossReduction;
}

export interface LossAttrs {
  crossEntropy: { labelSmoothing: number; mode: number };
  crossEntropyGrad: object;
}

/**
 * Cross-entropy of `logits` [..., classes] against class indices `target` [...] of i32 or i64: the classes lie on the last
 * axis. With `labelSmoothing` s (default 0) the target distribution is (1 - s) one-hot + s / classes. Fused; f32 and f64.
 * Gives a scalar, or [...] with reduction "none". ValueError for an index outside [0, classes).
 */
export function crossEntropy(
  logits: Tensor,
  target: Tensor,
  { reduction = "mean", labelSmoothing = 0 }: LossOptions & { labelSmoothing?: number } = {},
): Tensor {
  const mode = codeOf("crossEntropy", "reduction", lossReductions, reduction);
  [logits] = raised(logits);
  const [loss, normalizers] = executeAll("crossEntropy", [logits, target], { labelSmoothing, mode }, 2, () =>
    native.crossEntropy(logits.slot, target.slot, labelSmoothing, mode),
  );
  normalizers!.dispose();
  return loss!;
}

/** Gradient of the logits, from the log-sum-exp of each item that the forward pass kept. */
export function crossEntropyGrad(
  logits: Tensor,
  target: Tensor,
  normalizers: Tensor,
  grad: Tensor,
  { labelSmoothing, mode }: LossAttrs["crossEntropy"],
): Tensor {
  return execute("crossEntropyGrad", [logits, target, normalizers, grad], {}, () =>
    native.crossEntropyGrad(logits.slot, target.slot, normalizers.slot, grad.slot, labelSmoothing, mode),
  );
}

// Losses by element do not broadcast: operands of different shapes are a mistake.
function requireSameShape(op: string, input: Tensor, target: Tensor): void {
  if (!sameShape(input.shape, target.shape)) {
    throw new ShapeError(`[${op}] target has shape [${target.shape}], expected [${input.shape}] to match the input`);
  }
}

function reduceLoss(op: string, losses: Tensor, { reduction = "mean" }: LossOptions): Tensor {
  codeOf(op, "reduction", lossReductions, reduction);
  if (reduction === "none") return losses;
  return reduction === "mean" ? mean(losses) : sum(losses);
}

/** (input - target)² */
export function mseLoss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  requireSameShape("mseLoss", input, target);
  [input, target] = raised(input, target);
  return reduceLoss("mseLoss", square(sub(input, target)), options);
}

/** |input - target| */
export function l1Loss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  requireSameShape("l1Loss", input, target);
  [input, target] = raised(input, target);
  return reduceLoss("l1Loss", abs(sub(input, target)), options);
}

/** d² / (2 beta) where d = |input - target| < beta (default 1), else d - beta / 2. ValueError unless beta > 0. */
export function smoothL1Loss(
  input: Tensor,
  target: Tensor,
  { beta = 1, ...options }: LossOptions & { beta?: number } = {},
): Tensor {
  requireSameShape("smoothL1Loss", input, target);
  [input, target] = raised(input, target);
  if (!(beta > 0)) throw new ValueError(`[smoothL1Loss] beta is ${beta}, expected more than 0`);
  const distance = abs(sub(input, target));
  const near = clamp(distance, { max: beta });
  return reduceLoss("smoothL1Loss", mul(mul(near, sub(distance, mul(near, 0.5))), 1 / beta), options);
}

/** Cross-entropy of sigmoid(logits) against probabilities `target`: softplus(x) - x · target. */
export function binaryCrossEntropyWithLogits(logits: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  requireSameShape("binaryCrossEntropyWithLogits", logits, target);
  [logits, target] = raised(logits, target);
  return reduceLoss("binaryCrossEntropyWithLogits", sub(softplus(logits), mul(logits, target)), options);
}
