import { backward } from "./autograd.js";
import { type DeviceName, isDevice } from "./device.js";
import type { DType } from "./dtype.js";
import { toNdarray } from "./ops/create.js";
import * as elementwise from "./ops/elementwise.js";
import { matmul } from "./ops/matmul.js";
import * as views from "./ops/views.js";
import { Tensor } from "./tensor.js";

/** x as another dtype, or on another device; x itself where nothing changes. */
function convert(x: Tensor, target: DType | DeviceName): Tensor {
  if (isDevice(target)) return views.toDevice(x, target);
  return x.dtype === target ? x : elementwise.cast(x, target);
}

// Functions whose first argument is a tensor, as methods of it: x.add(y) is add(x, y).
const methods = {
  backward,
  ndarray: toNdarray,
  to: convert,
  neg: elementwise.neg,
  abs: elementwise.abs,
  exp: elementwise.exp,
  log: elementwise.log,
  sqrt: elementwise.sqrt,
  square: elementwise.square,
  tanh: elementwise.tanh,
  sigmoid: elementwise.sigmoid,
  add: elementwise.add,
  sub: elementwise.sub,
  mul: elementwise.mul,
  div: elementwise.div,
  pow: elementwise.pow,
  clamp: elementwise.clamp,
  matmul,
  reshape: views.reshape,
  permute: views.permute,
  transpose: views.transpose,
  expand: views.expand,
  slice: views.slice,
  narrow: views.narrow,
  split: views.split,
  unsqueeze: views.unsqueeze,
  squeeze: views.squeeze,
  flatten: views.flatten,
  contiguous: views.contiguous,
  detach: views.detach,
};

type Methods = {
  [K in keyof typeof methods]: (typeof methods)[K] extends (x: Tensor, ...args: infer Args) => infer Result
    ? (...args: Args) => Result
    : never;
};

declare module "./tensor.js" {
  interface Tensor extends Methods {}
}

for (const [name, method] of Object.entries(methods)) {
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...args: never[]) {
      return (method as (x: Tensor, ...rest: never[]) => unknown)(this, ...args);
    },
    writable: true,
    configurable: true,
  });
}
