import { compareNumbers, Generator, matmul, silu, type Tensor, tensor, VoxelHash } from "@md/tensor";
import { describe, expect, it } from "vitest";
import { FiLM, LocalKernelQuery, Parameter, TimestepEmbedding, timestepEmbedding } from "../src/index.js";
import { checkGradients, random } from "./parameter-gradients.js";

const generator = (): Generator => new Generator(3);

describe("FiLM", () => {
  it("starts as the identity", () => {
    const layer = new FiLM(4, 3, { generator: generator() });
    const z = random([2, 5, 3]).to("f32");
    expect(layer.forward(z, random([2, 4]).to("f32")).toFlatArray()).toEqual(z.toFlatArray());
  });

  it("is gamma ⊙ z + beta, the same for all tokens of a condition", () => {
    const layer = new FiLM(4, 3, { generator: generator(), hiddenDim: 6, dtype: "f64" });
    layer.loadStateDict(
      new Map([...layer.namedParameters()].map(([name, value], i) => [name, random(value.shape, i)])),
    );
    expect([...layer.stateDict().keys()]).toEqual([
      "mlp.layers.0.weight",
      "mlp.layers.0.bias",
      "mlp.layers.1.weight",
      "mlp.layers.1.bias",
    ]);
    const z = random([2, 2, 5, 3]);
    const condition = random([2, 2, 4], 9);
    const { scale, shift } = layer.modulation(condition);
    const [s, b, values] = [scale.toFlatArray(), shift.toFlatArray(), z.toFlatArray()];
    const expected = values.map((value, i) => {
      const channel = Math.floor(i / 15) * 3 + (i % 3);
      return value * (1 + s[channel]!) + b[channel]!;
    });
    compareNumbers("film", layer.forward(z, condition).toFlatArray(), expected, 1e-12);
    const [first, second] = [layer.mlp.layers.at(0), layer.mlp.layers.at(1)];
    const hidden = silu(matmul(condition, first.weight.transpose()).add(first.bias!));
    const raw = matmul(hidden, second.weight.transpose()).add(second.bias!);
    compareNumbers("scale", s, raw.narrow(-1, 0, 3).toFlatArray(), 1e-12);
    compareNumbers("shift", b, raw.narrow(-1, 3, 3).toFlatArray(), 1e-12);
    const leaves = new Map<string, Tensor>([
      ["z", new Parameter(z)],
      ["condition", new Parameter(condition)],
      ...layer.namedParameters(),
    ]);
    checkGradients(leaves, () => layer.forward(leaves.get("z")!, leaves.get("condition")!));
  });

  it("refuses a condition whose leading axes are not those of z", () => {
    const layer = new FiLM(4, 3, { generator: generator() });
    expect(() => layer.forward(tensor([[1, 2, 3]]), random([2, 4]).to("f32"))).toThrow(
      /\[FiLM\] z has shape \[1,3\], expected \[2,...,3\]/,
    );
  });
});

describe("LocalKernelQuery", () => {
  it("sums weight · mean over the occupied voxels around a query", () => {
    const layer = new LocalKernelQuery(3, 2, { generator: generator(), dtype: "f64" });
    expect([...layer.stateDict()].map(([name, { shape }]) => [name, shape])).toEqual([["weight", [27, 2, 3]]]);
    const bound = 1 / Math.sqrt(81);
    expect(Math.max(...layer.weight.toFlatArray().map(Math.abs))).toBeLessThanOrEqual(bound);
    expect(Math.max(...layer.weight.toFlatArray())).toBeGreaterThan(0.9 * bound);

    const points = tensor(
      [
        [0.5, 0.5, 0.5],
        [0.6, 0.5, 0.5],
        [1.5, 0.5, -0.5],
        [9, 9, 9],
      ],
      { dtype: "f64" },
    );
    const features = new Parameter(random([4, 3]));
    const batch = (count: number): Tensor => tensor(new Int32Array(count));
    const hash = VoxelHash.build(points, batch(4), { voxelSize: 1 });
    const queries = tensor(
      [
        [0.1, 0.9, 0.2],
        [50, 50, 50],
      ],
      { dtype: "f64" },
    );
    const map = hash.localKernelMap(queries, batch(2));

    const f = features.toFlatArray();
    const w = layer.weight.toFlatArray();
    const term = (offset: number, out: number, vector: number[]): number =>
      vector.reduce((total, value, i) => total + value * w[(offset * 2 + out) * 3 + i]!, 0);
    const centre = [0, 1, 2].map((i) => (f[i]! + f[3 + i]!) / 2);
    const aside = f.slice(6, 9);
    // (0, 0, 0) is offset 13; (1, 0, -1) is (1 + 1)·9 + (0 + 1)·3 + (-1 + 1) = 21.
    const expected = [0, 1].map((out) => term(13, out, centre) + term(21, out, aside));
    const run = (): Tensor => layer.forward(map, hash.mean(features));
    compareNumbers("query", run().toFlatArray(), [...expected, 0, 0], 1e-12);
    checkGradients(new Map<string, Tensor>([["features", features], ...layer.namedParameters()]), run);
  });
});

describe("timestep embedding", () => {
  it("has diffusers' numbers", () => {
    const t = tensor(BigInt64Array.of(0n, 1n, 500n));
    const expected = (dim: number, shift: number, flip: boolean, scale: number): number[] =>
      [0, 1, 500].flatMap((step) => {
        const half = Math.floor(dim / 2);
        const angles = Array.from(
          { length: half },
          (_, i) => scale * step * Math.exp((-Math.log(10000) * i) / (half - shift)),
        );
        const [sines, cosines] = [angles.map(Math.sin), angles.map(Math.cos)];
        return [...(flip ? [...cosines, ...sines] : [...sines, ...cosines]), ...(dim % 2 ? [0] : [])];
      });
    const check = (dim: number, options: Parameters<typeof timestepEmbedding>[2], values: number[]): void =>
      compareNumbers("embedding", timestepEmbedding(t, dim, { ...options, dtype: "f64" }).toFlatArray(), values, 1e-12);
    check(8, {}, expected(8, 1, false, 1));
    check(7, { flipSinToCos: true }, expected(7, 1, true, 1));
    check(8, { downscaleFreqShift: 0, scale: 2 }, expected(8, 0, false, 2));
    expect(timestepEmbedding(t.reshape([3, 1]), 8).shape).toEqual([3, 1, 8]);
    compareNumbers("f32", timestepEmbedding(t, 8).toFlatArray(), expected(8, 1, false, 1), 1e-5);
    expect(() => timestepEmbedding(t, 3)).toThrow(/dim is 3, expected more than 3/);
  });

  it("is followed by Linear, SiLU, Linear with diffusers' names", () => {
    const layer = new TimestepEmbedding(8, 5, {
      generator: generator(),
      flipSinToCos: true,
      downscaleFreqShift: 0,
      dtype: "f64",
    });
    expect([...layer.stateDict().keys()]).toEqual([
      "linear_1.weight",
      "linear_1.bias",
      "linear_2.weight",
      "linear_2.bias",
    ]);
    const t = tensor([3, 80], { dtype: "i32" });
    const sinusoids = timestepEmbedding(t, 8, { flipSinToCos: true, downscaleFreqShift: 0, dtype: "f64" });
    const hidden = silu(matmul(sinusoids, layer.linear1.weight.transpose()).add(layer.linear1.bias!));
    const expected = matmul(hidden, layer.linear2.weight.transpose()).add(layer.linear2.bias!);
    compareNumbers("output", layer.forward(t).toFlatArray(), expected.toFlatArray(), 1e-10);
    checkGradients(layer.namedParameters(), () => layer.forward(t));
  });
});
