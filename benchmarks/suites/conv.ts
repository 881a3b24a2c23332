import { conv2d } from "@md/tensor";
import { type BenchCase, random, stateless, type Suite, withGradients } from "../suite.js";

interface Layer {
  batch: number;
  channels: readonly [inputs: number, outputs: number];
  extent: number;
  kernel: number;
  stride: number;
}
const layers: readonly Layer[] = [
  { batch: 4, channels: [3, 32], extent: 128, kernel: 3, stride: 2 },
  { batch: 4, channels: [64, 64], extent: 32, kernel: 3, stride: 1 },
  { batch: 4, channels: [64, 256], extent: 32, kernel: 1, stride: 1 },
];

/** Convolutions of images, as an encoder of camera views has them. */
export const convSuite: Suite = {
  name: "conv",
  cases: layers.flatMap(({ batch, channels: [inputs, outputs], extent, kernel, stride }): BenchCase[] => {
    const padding = kernel >> 1;
    const out = Math.floor((extent + 2 * padding - kernel) / stride) + 1;
    const operands = [[batch, inputs, extent, extent], [outputs, inputs, kernel, kernel], [outputs]];
    const flops = 2 * batch * outputs * out * out * inputs * kernel * kernel;
    const name = `${kernel}×${kernel}, stride ${stride}, ${inputs}→${outputs}, ${batch} of ${extent}×${extent}`;
    const params = { stride, padding };
    return [
      {
        name,
        inputs: () => operands.map((shape, i) => random(shape, i + 1)),
        bind: stateless((x, weight, bias) => conv2d(x, weight, { bias, stride, padding })),
        peer: { op: "conv2d", params },
        flops,
        countsFor: ["scaling"],
      },
      {
        name: `${name}, forward and backward`,
        inputs: () => [...operands, [batch, outputs, out, out]].map((shape, i) => random(shape, i + 1)),
        bind: withGradients((x, weight, bias) => conv2d(x, weight, { bias, stride, padding }), 3),
        peer: { op: "conv2dGrad", params },
        flops: 3 * flops,
        countsFor: ["scaling"],
      },
    ];
  }),
};
