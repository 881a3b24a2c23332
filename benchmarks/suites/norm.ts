import { batchNorm, layerNorm, softmax, type Tensor } from "@md/tensor";
import { type BenchCase, type Bind, random, stateless, type Suite, withGradients } from "../suite.js";

interface Kernel {
  op: string;
  forward: (...inputs: Tensor[]) => Tensor;
  /** Whether a weight and a bias follow x. */
  affine: boolean;
  /** Times that the elements of x have to move, forward. */
  moves: number;
}
const kernels: readonly Kernel[] = [
  { op: "layerNorm", forward: (x, weight, bias) => layerNorm(x, { weight, bias }), affine: true, moves: 2 },
  { op: "softmax", forward: (x) => softmax(x, -1), affine: false, moves: 2 },
  // Read for the statistics, then once more.
  { op: "batchNorm", forward: (x, weight, bias) => batchNorm(x, { weight, bias }).output, affine: true, moves: 3 },
];

function casesOf(rows: number, channels: number, where: string, outOfCache: boolean): BenchCase[] {
  const size = rows * channels;
  return kernels.flatMap(({ op, forward, affine, moves }): BenchCase[] => {
    const x = [rows, channels];
    const operands = affine ? [x, [channels], [channels]] : [x];
    const make = (shapes: number[][]) => () => shapes.map((shape, i) => random(shape, i + 1));
    const backward: Bind = withGradients(forward, operands.length);
    return [
      {
        name: `${op}, ${where}`,
        inputs: make(operands),
        bind: stateless(forward),
        peer: { op },
        bytes: 4 * moves * size,
        countsFor: outOfCache ? ["memory-bound"] : [],
      },
      {
        name: `${op}, forward and backward, ${where}`,
        inputs: make([...operands, x]),
        bind: backward,
        peer: { op: `${op}Grad` },
        bytes: 4 * (2 * moves + 1) * size,
      },
    ];
  });
}

/** Normalisations over rows or columns. */
export const normSuite: Suite = {
  name: "norm",
  cases: [...casesOf(2 ** 17, 256, "128 MiB a tensor", true), ...casesOf(4000, 288, "4000×288", false)],
};
