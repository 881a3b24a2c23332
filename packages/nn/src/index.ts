export * from "./clip/index.js";
export { type Layer, ModuleDict, ModuleList, Sequential } from "./containers.js";
export { construct } from "./construct.js";
export * as init from "./init.js";
export { GELU, QuickGELU, ReLU, Sigmoid, SiLU, Tanh } from "./layers/activations.js";
export { Conv2d, type Conv2dOptions } from "./layers/conv2d.js";
export { DropPath } from "./layers/drop-path.js";
export { Dropout } from "./layers/dropout.js";
export { Embedding } from "./layers/embedding.js";
export { FeaturePyramidNetwork } from "./layers/feature-pyramid-network.js";
export { FiLM, type FiLMOptions } from "./layers/film.js";
export { fromHeads, headDimOf, headLayerNorm, headNorm, toHeads } from "./layers/heads.js";
export { Linear, type LinearOptions } from "./layers/linear.js";
export { LocalKernelQuery } from "./layers/local-kernel-query.js";
export { MLP, type MLPOptions } from "./layers/mlp.js";
export {
  type AttendOptions,
  type AttentionOptions,
  type KeyValue,
  MultiheadAttention,
  type MultiheadAttentionOptions,
} from "./layers/multihead-attention.js";
export { BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm, type NormOptions } from "./layers/norms.js";
export type { LayerOptions, RandomLayerOptions } from "./layers/options.js";
export { RotaryEmbedding3d, type RotaryEmbedding3dOptions } from "./layers/rotary-embedding-3d.js";
export { SubMConv3d, type SubMConv3dOptions } from "./layers/subm-conv3d.js";
export {
  type SinusoidalOptions,
  TimestepEmbedding,
  timestepEmbedding,
  type TimestepEmbeddingOptions,
} from "./layers/timestep-embedding.js";
export { Module } from "./module.js";
export { getNameMap, NameMap, nameMapNames, NameMapError, type NameRule, registerNameMap } from "./name-map.js";
export { Parameter, parameter } from "./parameter.js";
export * from "./point-cloud/index.js";
export * from "./safetensors/index.js";
export {
  compareStateDicts,
  copyStateDict,
  describeDifference,
  type LoadOptions,
  type Mismatch,
  type StateDict,
  type StateDictDifference,
  StateDictError,
} from "./state-dict.js";
export * from "./torch-checkpoint/index.js";
