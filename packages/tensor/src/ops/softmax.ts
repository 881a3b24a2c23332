import { native } from "@md/native";
import { raised } from "../autocast.js";
import { execute } from "../primitives.js";
import type { Tensor } from "../tensor.js";
import { resolveAxis } from "./shape.js";

export interface SoftmaxAttrs {
  softmax: { axis: number };
  logSoftmax: { axis: number };
  softmaxGrad: object;
}

/** exp(x) / Σ exp(x) along `dim`, the maximum subtracted first; f32 and f64. */
export function softmax(x: Tensor, dim = -1): Tensor {
  const axis = resolveAxis("softmax", dim, x.rank);
  [x] = raised(x);
  return execute("softmax", [x], { axis }, () => native.softmax(x.slot, axis, false));
}

/** x - log Σ exp(x) along `dim`; f32 and f64. */
export function logSoftmax(x: Tensor, dim = -1): Tensor {
  const axis = resolveAxis("logSoftmax", dim, x.rank);
  [x] = raised(x);
  return execute("logSoftmax", [x], { axis }, () => native.softmax(x.slot, axis, true));
}

/** Gradient of softmax (or logSoftmax, where `log`) from its output y. */
export function softmaxGrad(y: Tensor, grad: Tensor, axis: number, log: boolean): Tensor {
  return execute("softmaxGrad", [y, grad], {}, () => native.softmaxGrad(y.slot, grad.slot, axis, log));
}
