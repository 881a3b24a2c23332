import { compareNumbers, Generator, scope, type Tensor, tensor, zeros } from "@md/tensor";
import { describe, expect, it } from "vitest";
import {
  BatchNorm2d,
  ClipResNet,
  FeaturePyramidNetwork,
  type Module,
  normalizeClipImages,
  Parameter,
} from "../../src/index.js";
import { AttentionPool2d } from "../../src/clip/attention-pool.js";
import { Bottleneck } from "../../src/clip/bottleneck.js";
import { checkGradients, random } from "../parameter-gradients.js";
import { attentionPool, featurePyramid, image, type Image, resnetMaps, type Weights } from "./image-reference.js";

const f64 = { dtype: "f64", generator: new Generator(3) } as const;
const small = { layers: [2, 1, 1, 2], width: 4, heads: 8, embedDim: 6, resolution: 64 } as const;

/** Random values for every weight and statistic, so that no branch is switched off. */
function shuffle<M extends Module>(module: M): M {
  const shuffled = [...module.stateDict()].map(([name, value], i): [string, Tensor] => {
    const values = random(value.shape, 60 + i);
    if (name.endsWith("num_batches_tracked")) return [name, value];
    if (name.endsWith("running_var") || /(bn\d|downsample\.1)\.weight/.test(name))
      return [name, values.mul(0.4).add(1)];
    const fanIn = value.size / (value.shape[0] ?? 1);
    return [name, value.rank > 1 ? values.mul(1.5 / Math.sqrt(fanIn)) : values.mul(0.3)];
  });
  module.loadStateDict(new Map(shuffled));
  return module.eval() as M;
}

/** Weights by name, each read out once. */
function weightsOf(module: Module, prefix = ""): Weights {
  const weights = new Map(
    [...module.stateDict()].map(([name, x]) => [name, { shape: x.shape, values: x.toFlatArray() }]),
  );
  return (name) => {
    const found = weights.get(prefix + name);
    if (!found) throw new Error(`no weight ${prefix}${name}`);
    return found;
  };
}
const itemOf = (x: Tensor, item: number): Image => {
  const [, channels, height, width] = x.shape as [number, number, number, number];
  const values = x.narrow(0, item, 1).toFlatArray();
  return image(channels, height, width, (c, row, column) => values[(c * height + row) * width + column]!);
};
const near = (name: string, actual: Image, expected: Image): void => {
  expect([actual.channels, actual.height, actual.width]).toEqual([expected.channels, expected.height, expected.width]);
  expect(Math.max(...expected.values), `${name} is alive`).toBeGreaterThan(1e-2);
  compareNumbers(name, [...actual.values], [...expected.values], 1e-10);
};

describe("ClipResNet", () => {
  it("computes the published formulas: maps, pyramid and pooled image", () => {
    const model = shuffle(new ClipResNet({ ...small, ...f64 }));
    const pyramid = shuffle(new FeaturePyramidNetwork(model.mapChannels, 3, f64));
    scope(() => {
      const images = random([2, 3, 64, 64], 7);
      const maps = Object.values(model.maps(images)) as Tensor[];
      const levels = pyramid.forward(maps);
      const pooled = model.forward(images);
      expect(pooled.shape).toEqual([2, 6]);
      for (const item of [0, 1]) {
        const expected = resnetMaps(itemOf(images, item), weightsOf(model), small.layers);
        expected.forEach((map, i) => near(`res${i + 1}`, itemOf(maps[i]!, item), map));
        featurePyramid(expected, weightsOf(pyramid)).forEach((level, i) =>
          near(`level ${i}`, itemOf(levels[i]!, item), level),
        );
        const vector = attentionPool(expected.at(-1)!, weightsOf(model, "attnpool."), small.heads);
        compareNumbers("pooled", pooled.narrow(0, item, 1).toFlatArray(), vector, 1e-10);
      }
    });
  });

  it("gives maps of images of other sizes, and pools none of them", () => {
    const model = new ClipResNet({ ...small, ...f64 }).eval();
    const images = zeros([1, 3, 32, 96], { dtype: "f64" });
    expect(Object.entries(model.maps(images)).map(([name, { shape }]) => [name, shape])).toEqual([
      ["res1", [1, 4, 16, 48]],
      ["res2", [1, 16, 8, 24]],
      ["res3", [1, 32, 4, 12]],
      ["res4", [1, 64, 2, 6]],
      ["res5", [1, 128, 1, 3]],
    ]);
    expect(() => model.forward(images)).toThrow(
      /\[AttentionPool2d\] x has shape \[1,128,1,3\], expected \[batch, 128, 2, 2\]/,
    );
    expect(() => model.maps(zeros([1, 4, 32, 32], { dtype: "f64" }))).toThrow(/\[ClipResNet\] images have shape/);
  });

  it("has RN50's names, shapes and number of parameters", () => {
    // 38.32 M in open_clip's docs/model_profile.csv; RN50 as a whole has 102,007,137 with the text model's 63,690,240
    // and one scale.
    using model = new ClipResNet({ generator: new Generator(0) });
    expect(model.numParameters).toBe(102_007_137 - 63_690_240 - 1);
    expect(model.mapChannels).toEqual([64, 256, 512, 1024, 2048]);
    expect(model.attnpool.heads).toBe(32);
    const shapes = new Map([...model.stateDict()].map(([name, { shape }]) => [name, shape]));
    // 55 convolutions, each with a norm of 5 arrays; positions; weight and bias of 4 projections.
    expect(shapes.size).toBe(55 * 6 + 1 + 4 * 2);
    for (const [name, shape] of [
      ["conv1.weight", [32, 3, 3, 3]],
      ["conv2.weight", [32, 32, 3, 3]],
      ["conv3.weight", [64, 32, 3, 3]],
      ["bn3.running_var", [64]],
      ["bn1.num_batches_tracked", []],
      ["layer1.0.conv1.weight", [64, 64, 1, 1]],
      ["layer1.0.downsample.0.weight", [256, 64, 1, 1]],
      ["layer1.0.downsample.1.running_mean", [256]],
      ["layer2.3.conv2.weight", [128, 128, 3, 3]],
      ["layer3.5.bn3.weight", [1024]],
      ["layer4.0.downsample.0.weight", [2048, 1024, 1, 1]],
      ["layer4.2.conv3.weight", [2048, 512, 1, 1]],
      ["attnpool.positional_embedding", [50, 2048]],
      ["attnpool.q_proj.weight", [2048, 2048]],
      ["attnpool.c_proj.weight", [1024, 2048]],
      ["attnpool.c_proj.bias", [1024]],
    ] as const)
      expect(shapes.get(name), name).toEqual(shape);
    expect(shapes.has("layer1.1.downsample.0.weight")).toBe(false);
  });

  it("goes through a state dict", () => {
    const source = shuffle(new ClipResNet({ ...small, ...f64 }));
    const target = new ClipResNet({ ...small, ...f64 }).eval();
    target.loadStateDict(source.stateDict());
    const images = random([1, 3, 64, 64], 7);
    expect(target.forward(images).toFlatArray()).toEqual(source.forward(images).toFlatArray());
  });

  it("normalises colours", () => {
    const images = tensor(Float64Array.of(0.48145466, 1, 0.4578275, 0, 0.40821073, 0.5), { shape: [1, 3, 1, 2] });
    const expected = [0, 0.51854534 / 0.26862954, 0, -0.4578275 / 0.26130258, 0, 0.09178927 / 0.27577711];
    compareNumbers("colours", normalizeClipImages(images).toFlatArray(), expected, 1e-12);
  });
});

describe("gradients", () => {
  it("of a block, in evaluation and in training", () => {
    const block = shuffle(new Bottleneck(2, 1, 2, f64));
    const x = new Parameter(random([2, 2, 4, 4], 8));
    const leaves = new Map([...block.namedParameters(), ["x", x]]);
    checkGradients(leaves, () => block.forward(x));
    block.train();
    checkGradients(leaves, () => block.forward(x));
  });

  it("of attention pooling", () => {
    const pool = new AttentionPool2d(2, 4, 2, 3, f64);
    const x = new Parameter(random([2, 4, 2, 2], 9));
    checkGradients(new Map([...pool.namedParameters(), ["x", x]]), () => pool.forward(x));
  });

  it("of a feature pyramid, whose maps need not double", () => {
    const pyramid = new FeaturePyramidNetwork([2, 1], 2, f64);
    const [fine, coarse] = [new Parameter(random([1, 2, 5, 4], 9)), new Parameter(random([1, 1, 2, 3], 10))];
    const leaves = new Map([...pyramid.namedParameters(), ["fine", fine], ["coarse", coarse]]);
    checkGradients(leaves, () => pyramid.forward([fine, coarse])[0]!);
  });
});

describe("FeaturePyramidNetwork", () => {
  it("has torchvision's names", () => {
    const pyramid = new FeaturePyramidNetwork([2, 3], 4, f64);
    expect([...pyramid.stateDict()].map(([name, { shape }]) => [name, shape])).toEqual([
      ["inner_blocks.0.0.weight", [4, 2, 1, 1]],
      ["inner_blocks.0.0.bias", [4]],
      ["inner_blocks.1.0.weight", [4, 3, 1, 1]],
      ["inner_blocks.1.0.bias", [4]],
      ["layer_blocks.0.0.weight", [4, 4, 3, 3]],
      ["layer_blocks.0.0.bias", [4]],
      ["layer_blocks.1.0.weight", [4, 4, 3, 3]],
      ["layer_blocks.1.0.bias", [4]],
    ]);
    expect(() => pyramid.forward([zeros([1, 2, 4, 4], { dtype: "f64" })])).toThrow(/found 1 maps, expected 2/);
  });
});

describe("BatchNorm2d", () => {
  it("norms images as rows of pixels, and refuses others", () => {
    const layer = new BatchNorm2d(3, f64);
    const x = random([2, 3, 2, 2], 4);
    const rows = x.permute([0, 2, 3, 1]).reshape([8, 3]).toFlatArray();
    const normed = layer.forward(x).permute([0, 2, 3, 1]).reshape([8, 3]).toFlatArray();
    for (let c = 0; c < 3; c++) {
      const column = rows.filter((_, i) => i % 3 === c);
      const mean = column.reduce((sum, value) => sum + value) / 8;
      const variance = column.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 8;
      const expected = column.map((value) => (value - mean) / Math.sqrt(variance + 1e-5));
      compareNumbers(
        `channel ${c}`,
        normed.filter((_, i) => i % 3 === c),
        expected,
        1e-10,
      );
    }
    expect(() => layer.forward(random([2, 3, 2]))).toThrow(
      /\[BatchNorm2d\] x has shape \[2,3,2\], expected \[batch, 3, height, width\]/,
    );
  });
});
