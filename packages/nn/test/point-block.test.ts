import {
  Generator,
  gelu,
  gradcheck,
  layerNorm,
  matmul,
  mean,
  submConv3d,
  type Tensor,
  tensor,
  ValueError,
} from "@md/tensor";
import { describe, expect, it } from "vitest";
import {
  type Context,
  ContextAttention,
  ContextBlock,
  ConvolutionEmbedding,
  type Module,
  Parameter,
  PatchAttention,
  PointBlock,
  type RandomLayerOptions,
} from "../src/index.js";
import { checkGradients, random } from "./parameter-gradients.js";
import { cloudOf, f64, loaded, makeScene, makeSparseScene, near, sameBits, shuffled } from "./point-scenes.js";

const options = (): RandomLayerOptions => ({ generator: new Generator(4), ...f64 });
const cloud = cloudOf(makeScene([23, 9, 1, 14], 5));
const x = random([cloud.size, 6], 8);
const convolved = random([cloud.size, 6], 9);

const part = (layer: Module, name: string): Tensor => layer.stateDict().get(name)!;
const linearOf = (layer: Module, name: string, input: Tensor): Tensor =>
  matmul(input, part(layer, `${name}.weight`).transpose()).add(part(layer, `${name}.bias`));
const normOf = (layer: Module, name: string, input: Tensor): Tensor =>
  layerNorm(input, { weight: part(layer, `${name}.weight`), bias: part(layer, `${name}.bias`) });
const mlpOf = (layer: Module, input: Tensor): Tensor =>
  linearOf(layer, "mlp.layers.1", gelu(linearOf(layer, "mlp.layers.0", input)));

function embedded(layer: Module, prefix: string, input: Tensor): Tensor {
  const conv = submConv3d(cloud.neighbourMap(3), input, part(layer, `${prefix}conv.weight`), {
    bias: part(layer, `${prefix}conv.bias`),
  });
  return normOf(layer, `${prefix}norm`, linearOf(layer, `${prefix}linear`, conv));
}

describe("ConvolutionEmbedding", () => {
  it("is a convolution of 3³, Linear and LayerNorm", () => {
    const layer = shuffled(new ConvolutionEmbedding(6, 4, options()), 0.5);
    const output = layer.forward(cloud, x);
    near(output, embedded(layer, "", x));
    near(layer.finish(layer.conv.forward(cloud.neighbourMap(3), x)), output);
    const input = new Parameter(x);
    gradcheck((value) => layer.forward(cloud, value), [input]);
    checkGradients(layer.namedParameters(), () => layer.forward(cloud, input));
  });
});

describe("PointBlock", () => {
  const make = (extra: { dropPath?: number; mlpRatio?: number } = {}): PointBlock =>
    shuffled(new PointBlock(6, 2, { ...options(), patchSize: 4, ...extra }), 0.5);

  function reference(layer: PointBlock, input: Tensor, neighbours: Tensor): Tensor {
    const attention = loaded(new PatchAttention(6, 2, { ...options(), patchSize: 4 }), layer.stateDict(), "attn");
    const placed = input.add(embedded(layer, "cpe.", neighbours));
    const attended = placed.add(attention.forward(cloud, normOf(layer, "norm1", placed), "hilbert"));
    return attended.add(mlpOf(layer, normOf(layer, "norm2", attended)));
  }

  it("adds positional encoding, attention and a feed-forward part, norms first", () => {
    const layer = make();
    near(layer.forward(cloud, x, "hilbert"), reference(layer, x, x));
    near(layer.forward(cloud, x, "hilbert", convolved), reference(layer, x, convolved));
    expect(layer.forward(cloud, x, "z").toFlatArray()).not.toEqual(layer.forward(cloud, x, "hilbert").toFlatArray());
  });

  it("passes patch size, patch rule and the width of the feed-forward part on", () => {
    const shape = (layer: Module): readonly number[] => part(layer, "mlp.layers.0.weight").shape;
    expect([shape(make()), shape(make({ mlpRatio: 2 })), shape(make({ mlpRatio: 1.5 }))]).toEqual([
      [24, 6],
      [12, 6],
      [9, 6],
    ]);
    const run = (extra: object): number[] =>
      loadedLike(new PointBlock(6, 2, { ...options(), ...extra }))
        .forward(cloud, x, "z")
        .toFlatArray();
    const loadedLike = (layer: PointBlock): PointBlock => shuffled(layer, 0.5);
    expect(run({ patchSize: 4 })).not.toEqual(run({}));
    expect(run({ patchRule: "batch" })).not.toEqual(run({}));
  });

  it("refuses a feed-forward part without channels", () => {
    for (const mlpRatio of [0.01, 0, -1, NaN, Infinity]) {
      expect(() => make({ mlpRatio })).toThrow(ValueError);
      expect(() => make({ mlpRatio })).toThrow(`[PointBlock] mlpRatio is ${mlpRatio}, which makes`);
    }
  });

  it("has gradients", () => {
    const small = cloudOf(makeSparseScene([5, 2], 3));
    const layer = make({ mlpRatio: 1 });
    const [input, other] = [new Parameter(random([7, 6], 2)), new Parameter(random([7, 6], 3))];
    gradcheck((value, neighbours) => layer.forward(small, value, "z", neighbours), [input, other]);
    checkGradients(layer.namedParameters(), () => layer.forward(small, input, "z", other));
  });

  it("drops branches in training alone, and keeps the mean", () => {
    const dropping = make({ dropPath: 0.5 });
    const placed = x.add(embedded(dropping, "cpe.", x));
    const whole = make().forward(cloud, x, "z");
    sameBits(dropping.eval().forward(cloud, x, "z"), whole);
    dropping.train();
    const runs = Array.from({ length: 40 }, () => dropping.forward(cloud, x, "z"));
    const [first, second, start] = [runs[0]!, runs[1]!, placed].map((each) => each.toFlatArray());
    expect(first).not.toEqual(second);
    const same = (output: number[]): number[] =>
      Array.from({ length: cloud.size }, (_, row) => row).filter((row) =>
        output.slice(6 * row, 6 * row + 6).every((value, c) => Math.abs(value - start![6 * row + c]!) < 1e-12),
      );
    // Both branches are dropped of a quarter of the rows, those of the encoding of none.
    const kept = runs.map((run) => same(run.toFlatArray()).length / cloud.size);
    const share = kept.reduce((a, b) => a + b) / kept.length;
    expect(Math.abs(share - 0.25)).toBeLessThan(4 * Math.sqrt((0.25 * 0.75) / (40 * cloud.size)));
    expect(() => make({ dropPath: 1 })).toThrow(ValueError);
  });

  it("adds the attention's mean over many draws, the feed-forward part being 0", () => {
    const silent = (layer: PointBlock): PointBlock => {
      const zero = ["mlp.layers.1.weight", "mlp.layers.1.bias"].map((name): [string, Tensor] => [
        name,
        part(layer, name).mul(0),
      ]);
      layer.loadStateDict(new Map(zero), { strict: false });
      return layer;
    };
    const dropping = silent(make({ dropPath: 0.3 }));
    const runs = 600;
    let total = dropping.forward(cloud, x, "z");
    for (let i = 1; i < runs; i++) total = total.add(dropping.forward(cloud, x, "z"));
    const whole = silent(make()).forward(cloud, x, "z");
    const branch = mean(whole.sub(x).sub(embedded(dropping, "cpe.", x))).item();
    const found = mean(
      total
        .div(runs)
        .sub(x)
        .sub(embedded(dropping, "cpe.", x)),
    ).item();
    expect(Math.abs(branch)).toBeGreaterThan(0.01);
    expect(Math.abs(found / branch - 1)).toBeLessThan(0.1);
  });
});

describe("ContextBlock", () => {
  const context = (tokens = random([7, 4], 5)): Context => ({ tokens, offsets: Int32Array.from([0, 3, 3, 6, 7]) });
  const make = (dropPath?: number): ContextBlock =>
    shuffled(new ContextBlock(6, 2, 4, { ...options(), mlpRatio: 1, dropPath }), 0.5);

  it("adds attention to the context and a feed-forward part, norms first", () => {
    const layer = make();
    const attention = loaded(new ContextAttention(6, 2, 4, options()), layer.stateDict(), "attn");
    const attended = x.add(attention.forward(normOf(layer, "norm1", x), cloud.offsets, context()));
    near(layer.forward(x, cloud.offsets, context()), attended.add(mlpOf(layer, normOf(layer, "norm2", attended))));
  });

  it("has gradients", () => {
    const layer = make();
    const offsets = Int32Array.from([0, 2, 3, 5, 6]);
    const [input, tokens] = [new Parameter(random([6, 6], 2)), new Parameter(random([7, 4], 3))];
    gradcheck((value, words) => layer.forward(value, offsets, context(words)), [input, tokens]);
    checkGradients(layer.namedParameters(), () => layer.forward(input, offsets, context(tokens)));
  });

  it("drops branches in training alone", () => {
    const layer = make(0.5);
    const run = (): number[] => layer.forward(x, cloud.offsets, context()).toFlatArray();
    expect(run()).not.toEqual(run());
    layer.eval();
    expect(run()).toEqual(make().forward(x, cloud.offsets, context()).toFlatArray());
    expect(() => layer.forward(x, cloud.offsets, { tokens: tensor([[1]], f64), offsets: cloud.offsets })).toThrow(
      /\[ContextAttention\] context.tokens/,
    );
  });
});
