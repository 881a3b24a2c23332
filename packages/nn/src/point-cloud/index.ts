export { type Context, ContextAttention } from "./context-attention.js";
export { PatchAttention, type PatchAttentionOptions } from "./patch-attention.js";
export { type Patches, type PatchRule } from "./patches.js";
export { ContextBlock, ConvolutionEmbedding, PointBlock, type PointBlockOptions } from "./point-block.js";
export { type CurveOrder, PointCloud, type PointCloudOptions } from "./point-cloud.js";
export { type LevelFeatures, PointTransformerV3, type PointTransformerV3Options } from "./point-transformer-v3.js";
export { GridPool, GridUnpool } from "./pooling.js";
