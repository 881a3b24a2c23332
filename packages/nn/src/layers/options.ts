import type { Generator } from "@md/tensor";

export interface LayerOptions {
  /** Of the parameters, and so of the inputs. Default f32. */
  dtype?: "f32" | "f64";
}
/** Of layers whose parameters start at random. */
export interface RandomLayerOptions extends LayerOptions {
  /** Drawn from, in the order in which layers are made. */
  generator: Generator;
}
