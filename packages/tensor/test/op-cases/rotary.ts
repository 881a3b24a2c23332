import * as md from "../../src/index.js";
import type { OpCase } from "../../src/index.js";

/** [tokens, headDim] rotated pair by pair; `heads` rows share a position. */
function rotated(headDim: number, heads: number, tokens: number, scale = 1) {
  return (x: number[], xyz: number[]): number[] => {
    const pairs = Math.floor(headDim / 6);
    const out = [...x];
    for (let row = 0; row < x.length / headDim; row++) {
      const token = Math.floor(row / (heads * tokens)) * tokens + (row % tokens);
      for (let axis = 0; axis < 3; axis++) {
        for (let j = 0; j < pairs; j++) {
          const angle = scale * xyz[3 * token + axis]! * 10000 ** (-j / pairs);
          const at = row * headDim + 2 * (axis * pairs + j);
          out[at] = x[at]! * Math.cos(angle) - x[at + 1]! * Math.sin(angle);
          out[at + 1] = x[at]! * Math.sin(angle) + x[at + 1]! * Math.cos(angle);
        }
      }
    }
    return out;
  };
}

const row = (name: string, shape: number[], xyzShape: number[], scale = 1): OpCase => ({
  primitives: ["rotaryTable", "applyRotary"],
  name: `rotaryEmbedding3d: ${name}`,
  inputs: [
    { shape, range: [-2, 2] },
    { shape: xyzShape, range: [-3, 3], grad: false },
  ],
  run: (x, xyz) => md.rotaryEmbedding3d(x, xyz, { scale }),
  reference: rotated(shape.at(-1)!, shape.length === 4 ? shape[1]! : 1, shape.at(-2)!, scale),
});

export const rotaryCases: OpCase[] = [
  row("headDim 12", [5, 12], [5, 3]),
  row("headDim 18, scaled", [2, 5, 18], [2, 5, 3], 4),
  row("heads share positions", [2, 3, 4, 12], [2, 4, 3]),
  row("headDim 15 passes 3 channels", [4, 15], [4, 3]),
  row("headDim 5 passes all", [4, 5], [4, 3]),
  row("no tokens", [2, 3, 0, 12], [2, 0, 3]),
];
