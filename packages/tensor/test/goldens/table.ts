import type { Tensor } from "../../src/index.js";

/** Attributes of a golden case as its file has them (snake_case); absent ones have PyTorch's defaults. */
export type GoldenAttrs = Readonly<Record<string, unknown>>;

/** Ops of golden files by their name there: inputs (views already applied) to outputs. */
export type GoldenOps = Readonly<
  Record<string, (inputs: readonly Tensor[], attrs: GoldenAttrs) => Tensor | readonly Tensor[]>
>;
