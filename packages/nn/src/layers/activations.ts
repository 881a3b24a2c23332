import { gelu, relu, sigmoid, silu, tanh, type Tensor } from "@md/tensor";
import { Module } from "../module.js";

/** max(x, 0) */
export class ReLU extends Module {
  forward(x: Tensor): Tensor {
    return relu(x);
  }
}
/** x · Φ(x), exact or in its tanh form. */
export class GELU extends Module {
  readonly approximate: "none" | "tanh";
  constructor({ approximate = "none" }: { approximate?: "none" | "tanh" } = {}) {
    super();
    this.approximate = approximate;
  }
  forward(x: Tensor): Tensor {
    return gelu(x, this.approximate);
  }
}
/** x · sigmoid(1.702 x), as CLIP has it. */
export class QuickGELU extends Module {
  forward(x: Tensor): Tensor {
    return x.mul(sigmoid(x.mul(1.702)));
  }
}
/** x · sigmoid(x) */
export class SiLU extends Module {
  forward(x: Tensor): Tensor {
    return silu(x);
  }
}
export class Tanh extends Module {
  forward(x: Tensor): Tensor {
    return tanh(x);
  }
}
export class Sigmoid extends Module {
  forward(x: Tensor): Tensor {
    return sigmoid(x);
  }
}
