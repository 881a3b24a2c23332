import {
  assign,
  binaryCrossEntropyWithLogits,
  compareNumbers,
  Generator,
  gelu,
  matmul,
  mean,
  memory,
  noGrad,
  relu,
  scope,
  silu,
  sqrt,
  square,
  sub,
  type Tensor,
  tensor,
} from "@md/tensor";
import { describe, expect, it } from "vitest";
import {
  BatchNorm1d,
  Dropout,
  Embedding,
  GELU,
  GroupNorm,
  LayerNorm,
  Linear,
  MLP,
  type Module,
  Parameter,
  ReLU,
  Sequential,
  Sigmoid,
  SiLU,
  Tanh,
} from "../src/index.js";
import { checkGradients, random } from "./parameter-gradients.js";

const f64 = { dtype: "f64" } as const;
const generator = (): Generator => new Generator(11);
const names = (module: Module): string[] => [...module.stateDict().keys()];
const near = (actual: Tensor, expected: Tensor, tolerance = 1e-12): void => {
  expect(actual.shape).toEqual(expected.shape);
  compareNumbers("output", actual.toFlatArray(), expected.toFlatArray(), tolerance);
};
/** Overwrites the parameters with random numbers, so that none is at a special value such as 0 or 1. */
function shuffle<M extends Module>(module: M): M {
  module.loadStateDict(
    new Map([...module.namedParameters()].map(([name, value], i) => [name, random(value.shape, 50 + i)])),
    { strict: false },
  );
  return module;
}
function sgdStep(parameter: Parameter, rate: number): void {
  noGrad(() => assign(parameter, parameter.sub(parameter.grad!.mul(rate))));
}
function gradients(module: Module, x: Tensor, run: (x: Tensor) => Tensor): void {
  const input = new Parameter(x);
  checkGradients(new Map([...module.namedParameters(), ["x", input]]), () => run(input));
}

describe("Linear", () => {
  it("is x weightᵀ + bias", () => {
    const layer = new Linear(3, 4, { generator: generator(), ...f64 });
    const x = random([2, 5, 3]);
    near(layer.forward(x), matmul(x, layer.weight.transpose()).add(layer.bias!));
    expect(names(layer)).toEqual(["weight", "bias"]);
    gradients(layer, x, (input) => layer.forward(input));
  });
  it("applies its activation", () => {
    const x = random([6, 3]);
    const plain = new Linear(3, 4, { generator: generator(), ...f64 });
    for (const [activation, reference] of [
      ["relu", relu],
      ["gelu", gelu],
      ["silu", silu],
    ] as const) {
      const layer = new Linear(3, 4, { generator: generator(), activation, ...f64 });
      near(layer.forward(x), reference(plain.forward(x)), 1e-10);
      gradients(layer, x, (input) => layer.forward(input));
    }
  });
  it("starts within ±1/√inFeatures, the same for the same seed, without a scope's help", () => {
    const layer = new Linear(16, 64, { generator: generator() });
    for (const parameter of layer.parameters()) {
      const values = parameter.toFlatArray();
      expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(0.25);
      expect(Math.max(...values)).toBeGreaterThan(0.2);
      expect(Math.min(...values)).toBeLessThan(-0.2);
    }
    expect(new Linear(16, 64, { generator: generator() }).weight.data()).toEqual(layer.weight.data());
    const both = generator();
    const first = new Linear(16, 64, { generator: both });
    expect(new Linear(16, 64, { generator: both }).weight.data()).not.toEqual(first.weight.data());
  });
  it("has no bias if not wanted", () => {
    const layer = new Linear(3, 4, { generator: generator(), bias: false });
    expect(names(layer)).toEqual(["weight"]);
    expect(layer.forward(tensor([[0, 0, 0]])).toFlatArray()).toEqual([0, 0, 0, 0]);
  });
  it("outlives the scope it was made in", () => {
    const before = memory().liveTensors;
    const layer = scope(() => new Linear(3, 4, { generator: generator() }));
    expect(memory().liveTensors - before).toBe(2);
    expect(layer.forward(tensor([[1, 2, 3]])).shape).toEqual([1, 4]);
    layer.dispose();
  });
});

describe("LayerNorm", () => {
  const reference = (x: Tensor, dim: number[], eps: number): Tensor => {
    const centred = sub(x, mean(x, { dim, keepdim: true }));
    return centred.div(sqrt(mean(square(centred), { dim, keepdim: true }).add(eps)));
  };
  it("normalises the last axis", () => {
    const layer = shuffle(new LayerNorm(4, { eps: 1e-3, ...f64 }));
    const x = random([3, 4]);
    near(layer.forward(x), reference(x, [1], 1e-3).mul(layer.weight!).add(layer.bias!), 1e-10);
    expect(names(layer)).toEqual(["weight", "bias"]);
    gradients(layer, x, (input) => layer.forward(input));
  });
  it("normalises several axes, with and without an affine map", () => {
    const x = random([2, 3, 4]);
    const layer = shuffle(new LayerNorm([3, 4], f64));
    near(layer.forward(x), reference(x, [1, 2], 1e-5).mul(layer.weight!).add(layer.bias!), 1e-10);
    const plain = new LayerNorm([3, 4], { affine: false, ...f64 });
    near(plain.forward(x), reference(x, [1, 2], 1e-5), 1e-10);
    expect(names(plain)).toEqual([]);
  });
  it("is modulated by a scale and a shift, with and without an affine map", () => {
    const x = random([2, 3, 3, 4]);
    const [scale, shift] = [random([2, 3, 4], 5), random([2, 3, 4], 6)];
    for (const affine of [true, false]) {
      const layer = shuffle(new LayerNorm([3, 4], { affine, ...f64 }));
      const modulate = (normed: Tensor): Tensor => normed.mul(scale.add(1).unsqueeze(1)).add(shift.unsqueeze(1));
      near(layer.forward(x, { scale, shift }), modulate(layer.forward(x)), 1e-10);
    }
  });
  it("starts as the identity map after normalising, and refuses another shape", () => {
    const layer = new LayerNorm(4);
    expect([layer.weight!.toFlatArray(), layer.bias!.toFlatArray()]).toEqual([
      [1, 1, 1, 1],
      [0, 0, 0, 0],
    ]);
    expect(() => new LayerNorm(4).forward(tensor([[1, 2, 3]]))).toThrow(
      /\[LayerNorm\] x has shape \[1,3\], expected \[..., 4\]/,
    );
  });
});

describe("GroupNorm", () => {
  it("normalises each group of channels", () => {
    const layer = shuffle(new GroupNorm(2, 4, f64));
    const x = random([3, 4, 5]);
    const grouped = x.reshape([3, 2, 10]);
    const centred = sub(grouped, mean(grouped, { dim: 2, keepdim: true }));
    const normed = centred.div(sqrt(mean(square(centred), { dim: 2, keepdim: true }).add(1e-5))).reshape([3, 4, 5]);
    near(layer.forward(x), normed.mul(layer.weight!.unsqueeze(-1)).add(layer.bias!.unsqueeze(-1)), 1e-10);
    expect(names(layer)).toEqual(["weight", "bias"]);
    gradients(layer, x, (input) => layer.forward(input));
  });
  it("refuses groups that do not divide the channels", () => {
    expect(() => new GroupNorm(3, 4)).toThrow(/4 channels do not divide into 3 groups/);
  });
});

describe("BatchNorm1d", () => {
  const x = random([6, 3]);
  const statistics = (values: Tensor): { mean: number[]; variance: number[] } => {
    const mu = mean(values, { dim: 0 });
    return { mean: mu.toFlatArray(), variance: mean(square(sub(values, mu)), { dim: 0 }).toFlatArray() };
  };
  it("normalises by the batch in training and tracks unbiased statistics", () => {
    const layer = shuffle(new BatchNorm1d(3, { momentum: 0.3, ...f64 }));
    const { mean: mu, variance } = statistics(x);
    const normed = sub(x, tensor(mu, f64)).div(sqrt(tensor(variance, f64).add(1e-5)));
    near(layer.forward(x), normed.mul(layer.weight!).add(layer.bias!), 1e-10);
    compareNumbers(
      "mean",
      layer.runningMean.toFlatArray(),
      mu.map((value) => 0.3 * value),
      1e-12,
    );
    compareNumbers(
      "variance",
      layer.runningVar.toFlatArray(),
      variance.map((value) => 0.7 + 0.3 * value * (6 / 5)),
      1e-12,
    );
    expect(layer.numBatchesTracked.item()).toBe(1);
  });
  it("uses the running statistics in evaluation and leaves them", () => {
    const layer = shuffle(new BatchNorm1d(3, f64));
    layer.forward(x);
    const before = layer.runningMean.toFlatArray();
    layer.eval();
    const normed = sub(x, layer.runningMean).div(sqrt(layer.runningVar.add(1e-5)));
    near(layer.forward(x), normed.mul(layer.weight!).add(layer.bias!), 1e-10);
    near(layer.forward(x.narrow(0, 0, 1)), layer.forward(x).narrow(0, 0, 1));
    expect(layer.runningMean.toFlatArray()).toEqual(before);
    expect(layer.numBatchesTracked.item()).toBe(1);
    gradients(layer, x, (input) => layer.forward(input));
  });
  it("takes [batch, features, length], and its gradients hold in training", () => {
    const layer = shuffle(new BatchNorm1d(3, f64));
    const long = random([2, 3, 4]);
    const rows = long.permute([0, 2, 1]).reshape([8, 3]);
    near(layer.forward(long).permute([0, 2, 1]).reshape([8, 3]), shuffle(new BatchNorm1d(3, f64)).forward(rows), 1e-10);
    gradients(layer, long, (input) => layer.forward(input));
  });
  it("has PyTorch's names, and refuses other shapes", () => {
    const layer = new BatchNorm1d(3);
    expect(names(layer)).toEqual(["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]);
    expect(() => layer.forward(tensor([[1, 2]]))).toThrow(/\[BatchNorm1d\] x has shape \[1,2\]/);
    expect(() => layer.forward(tensor([[1, 2, 3]]))).toThrow(/batch/i);
    expect(layer.numBatchesTracked.item()).toBe(0);
  });
  it("keeps nothing alive over many steps", () => {
    const layer = new BatchNorm1d(3);
    const step = (): void => scope(() => void layer.forward(random([4, 3]).to("f32")));
    step();
    const before = memory().liveTensors;
    for (let i = 0; i < 50; i++) step();
    expect(memory().liveTensors).toBe(before);
  });
});

describe("Embedding", () => {
  it("looks rows up", () => {
    const layer = new Embedding(5, 3, { generator: generator(), ...f64 });
    const index = tensor(Int32Array.of(4, 0, 0, 2), { shape: [2, 2] });
    const rows = [4, 0, 0, 2].flatMap((row) => layer.weight.toFlatArray().slice(row * 3, row * 3 + 3));
    expect(layer.forward(index).toFlatArray()).toEqual(rows);
    expect(layer.forward(index).shape).toEqual([2, 2, 3]);
    expect(names(layer)).toEqual(["weight"]);
    checkGradients(layer.namedParameters(), () => layer.forward(index));
    expect(() => layer.forward(tensor(Int32Array.of(5)))).toThrow(/5/);
  });
});

describe("Dropout", () => {
  it("drops in training alone", () => {
    const layer = new Dropout(0.25, { generator: generator() });
    const x = tensor(new Float32Array(4000).fill(3));
    const values = layer.forward(x).toFlatArray();
    expect(new Set(values)).toEqual(new Set([0, 4]));
    const dropped = values.filter((value) => value === 0).length;
    expect(Math.abs(dropped - 1000)).toBeLessThan(120);
    expect(new Dropout(0.25, { generator: generator() }).forward(x).toFlatArray()).toEqual(values);
    expect(layer.forward(x).toFlatArray()).not.toEqual(values);
    expect(layer.eval().forward(x)).toBe(x);
    expect(names(layer)).toEqual([]);
  });
});

describe("MLP and Sequential", () => {
  it("composes linear layers and activations", () => {
    const mlp = new MLP([3, 5, 4, 2], { generator: generator(), activation: "silu", ...f64 });
    const x = random([7, 3]);
    const [a, b, c] = [0, 1, 2].map((i) => mlp.layers.at(i));
    const affine = (layer: Linear, value: Tensor): Tensor => matmul(value, layer.weight.transpose()).add(layer.bias!);
    near(mlp.forward(x), affine(c!, silu(affine(b!, silu(affine(a!, x))))), 1e-10);
    expect(names(mlp)).toEqual([0, 1, 2].flatMap((i) => [`layers.${i}.weight`, `layers.${i}.bias`]));
    gradients(mlp, x, (input) => mlp.forward(input));
    expect(() => new MLP([3], { generator: generator() })).toThrow(/at least an input and an output/);
  });
  it("names a Sequential's layers by position", () => {
    const options = { generator: generator(), ...f64 };
    const model = new Sequential(new Linear(2, 3, options), new GELU(), new Linear(3, 1, options), new Tanh());
    expect(names(model)).toEqual(["0.weight", "0.bias", "2.weight", "2.bias"]);
    gradients(model, random([4, 2]), (x) => model.forward(x));
  });
  it("has activations as layers", () => {
    const x = tensor([-1, 0.5]);
    compareNumbers("relu", new ReLU().forward(x).toFlatArray(), [0, 0.5], 1e-6);
    compareNumbers("silu", new SiLU().forward(x).toFlatArray(), [-0.2689414, 0.3112296], 1e-6);
    compareNumbers("tanh", new Tanh().forward(x).toFlatArray(), [-0.7615942, 0.4621172], 1e-6);
    compareNumbers("sigmoid", new Sigmoid().forward(x).toFlatArray(), [0.2689414, 0.6224593], 1e-6);
    compareNumbers("gelu", new GELU().forward(x).toFlatArray(), [-0.1586553, 0.3457312], 1e-6);
    compareNumbers(
      "gelu tanh",
      new GELU({ approximate: "tanh" }).forward(x).toFlatArray(),
      [-0.158808, 0.345714],
      1e-5,
    );
  });
});

describe("training", () => {
  it("overfits exclusive or in 20 steps of plain SGD", () => {
    const model = new MLP([2, 32, 1], { generator: new Generator(4), activation: "relu" });
    const x = tensor([
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ]);
    const target = tensor([[0], [1], [1], [0]]);
    const losses: number[] = [];
    const live: number[] = [];
    for (let step = 0; step < 20; step++) {
      scope(() => {
        const loss = binaryCrossEntropyWithLogits(model.forward(x), target);
        model.zeroGrad();
        loss.backward();
        for (const parameter of model.parameters()) sgdStep(parameter, 2);
        losses.push(loss.item());
      });
      live.push(memory().liveTensors);
    }
    expect(losses.at(-1)).toBeLessThan(0.2);
    expect(losses[0]).toBeGreaterThan(0.5);
    expect(live.at(-1)).toBe(live[0]);
    const logits = model.forward(x).toFlatArray();
    expect(logits.map((value) => value > 0)).toEqual([false, true, true, false]);
  });
});
