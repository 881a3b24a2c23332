import { type Activation, linear, type Tensor, zeros } from "@md/tensor";
import { kaimingUniform } from "../init.js";
import { Module } from "../module.js";
import { type Parameter, parameter } from "../parameter.js";
import type { RandomLayerOptions } from "./options.js";

export interface LinearOptions extends RandomLayerOptions {
  /** Default true. */
  bias?: boolean;
  /** Applied to the result in the same pass over memory. Default "none". */
  activation?: Activation;
}

/** activation(x weightᵀ + bias): [..., inFeatures] -> [..., outFeatures]. Both start uniform on ±1/√inFeatures. */
export class Linear extends Module {
  /** [outFeatures, inFeatures] */
  readonly weight: Parameter;
  /** [outFeatures] */
  readonly bias: Parameter | null;
  readonly activation: Activation;

  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    { generator, bias = true, activation = "none", dtype }: LinearOptions,
  ) {
    super();
    const a = Math.sqrt(5);
    this.weight = parameter(() => kaimingUniform(zeros([outFeatures, inFeatures], { dtype }), { generator, a }));
    this.bias = bias
      ? parameter(() => kaimingUniform(zeros([outFeatures], { dtype }), { generator, a, fanIn: inFeatures }))
      : null;
    this.activation = activation;
  }
  /** @param residual added to the result in the same pass, [..., outFeatures] */
  forward(x: Tensor, residual: Tensor | null = null): Tensor {
    return linear(x, this.weight, this.bias, { activation: this.activation, residual });
  }
}
