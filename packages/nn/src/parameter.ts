import { scope, Tensor } from "@md/tensor";
import { noteMade } from "./construct.js";

/**
 * A leaf that a module trains: shares the storage of `tensor`, wants a gradient, and belongs to no scope, so it lives
 * until `dispose()`.
 */
export class Parameter extends Tensor {
  constructor(tensor: Tensor, options: { requiresGrad?: boolean } = {}) {
    void tensor.slot;
    super(tensor.resource.retain(), tensor.shape, tensor.dtype, tensor.device);
    this.requiresGrad = options.requiresGrad ?? true;
    this.keep();
    noteMade(this);
  }
}

/** A parameter of what `make` returns; frees all tensors that `make` made. */
export const parameter = (make: () => Tensor): Parameter => scope(() => new Parameter(make()));
