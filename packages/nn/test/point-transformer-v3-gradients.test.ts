import { Generator, gradcheck, type Tensor } from "@md/tensor";
import { expect, it } from "vitest";
import { Parameter, PointTransformerV3 } from "../src/index.js";
import { checkGradients, random } from "./parameter-gradients.js";
import { cloudOf, f64, makeSparseScene, shuffled } from "./point-scenes.js";

// Heads of three channels: a norm of two would leave nothing but signs.
const make = (convolveSkip: boolean): PointTransformerV3 =>
  shuffled(
    new PointTransformerV3({
      inChannels: 1,
      encChannels: [3, 3],
      encNumHeads: [1, 1],
      decChannels: [3],
      decNumHeads: [1],
      contextDim: 2,
      patchSize: 4,
      mlpRatio: 1,
      orders: ["hilbert"],
      convolveSkip,
      generator: new Generator(3),
      ...f64,
    }),
    0.6,
  );

it.each([
  ["training", false],
  ["training", true],
  ["evaluation", false],
])("PointTransformerV3 has gradients in %s, convolveSkip %s", (mode, convolveSkip) => {
  const network = make(convolveSkip).train(mode === "training");
  const cloud = cloudOf(makeSparseScene([9, 4], 4));
  const [x, tokens] = [new Parameter(random([13, 1], 2)), new Parameter(random([3, 2], 4))];
  const offsets = Int32Array.from([0, 2, 3]);
  const outputs = (input: Tensor, words: Tensor): Tensor[] =>
    network.forward(cloud, input, { tokens: words, offsets }).map(({ features }) => features);
  expect(outputs(x, tokens).map(({ shape }) => shape)).toEqual([
    [cloud.pool(2).size, 3],
    [13, 3],
  ]);
  gradcheck(outputs, [x, tokens]);
  if (network.training) checkGradients(network.namedParameters(), () => outputs(x, tokens).at(-1)!);
});
