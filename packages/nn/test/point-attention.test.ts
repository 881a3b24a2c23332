import {
  backward,
  compareNumbers,
  type Curve,
  curves,
  Generator,
  gradcheck,
  indexSelect,
  layerNorm,
  matmul,
  memory,
  scope,
  ShapeError,
  softmax,
  sum,
  tensor,
  type Tensor,
  ValueError,
  where,
  zeros,
} from "@md/tensor";
import { describe, expect, it } from "vitest";
import { type Context, ContextAttention, type Module, Parameter, PatchAttention } from "../src/index.js";
import { checkGradients, random } from "./parameter-gradients.js";
import { allowedMask, cloudOf, f64, makeScene, makeSparseScene, near, sameBits, shuffled } from "./point-scenes.js";

const generator = (): Generator => new Generator(4);
const range = (begin: number, end: number): number[] => Array.from({ length: end - begin }, (_, i) => begin + i);

/** proj(softmax(norm(q) · norm(k)ᵀ / √headDim) v) in elementary ops; a row that attends nothing takes 0 to proj. */
function denseAttention(layer: Module, parts: readonly Tensor[], heads: number, attends: number[][]): Tensor {
  const state = layer.stateDict();
  const [queries, dim] = parts[0]!.shape as [number, number];
  const allowed = allowedMask(attends, parts[1]!.shape[0]!);
  const norm = (name: string, x: Tensor): Tensor =>
    layerNorm(x, { weight: state.get(`${name}.weight`)!, bias: state.get(`${name}.bias`)!, eps: 1e-6 });
  const [q, k, v] = parts.map((part) => part.reshape([part.shape[0]!, heads, dim / heads]).permute([1, 0, 2]));
  const scores = matmul(norm("q_norm", q!), norm("k_norm", k!).transpose()).mul(Math.sqrt(heads / dim));
  const weights = softmax(where(allowed, scores, tensor([-1e30], f64)), -1).mul(allowed.to("f64"));
  const merged = matmul(weights, v!).permute([1, 0, 2]).reshape([queries, dim]);
  return projected(layer, "proj", merged);
}

const projected = (layer: Module, name: string, x: Tensor): Tensor =>
  matmul(x, layer.stateDict().get(`${name}.weight`)!.transpose()).add(layer.stateDict().get(`${name}.bias`)!);

/** Holds the outputs of two functions against each other, and the gradients of all leaves along one cotangent. */
function sameFunction(leaves: ReadonlyMap<string, Tensor>, run: () => Tensor, reference: () => Tensor): void {
  const gradients = (body: () => Tensor): Map<string, number[]> =>
    scope(() => {
      for (const leaf of leaves.values()) leaf.grad = null;
      const output = body();
      backward(sum(output.mul(random(output.shape, 77))));
      return new Map([...leaves].map(([name, leaf]) => [name, leaf.grad!.toFlatArray()]));
    });
  near(run(), reference());
  const expected = gradients(reference);
  for (const [name, gradient] of gradients(run)) {
    // The keys' bias shifts all scores of a query alike.
    expect(gradient.some((value) => Math.abs(value) > 1e-3)).toBe(name !== "k_norm.bias");
    compareNumbers(`gradient of ${name}`, gradient, expected.get(name)!, 1e-9);
  }
}

describe("PatchAttention", () => {
  const cloud = cloudOf(makeScene([23, 9, 1, 14], 6));
  const make = (patchSize: number, patchRule?: "item" | "batch"): PatchAttention =>
    shuffled(new PatchAttention(6, 2, { generator: generator(), patchSize, patchRule, ...f64 }), 0.7);

  /** Rows that each row attends: those of its patch, the last patch of an item being filled from the rows before it. */
  function attendedBy(curve: Curve, sizeOf: (count: number) => number): number[][] {
    const order = cloud.order(curve).order.toFlatArray();
    const attends: number[][] = [];
    cloud.counts.forEach((count, item) => {
      const rows = order.slice(cloud.offsets[item], cloud.offsets[item + 1]);
      const size = sizeOf(count);
      rows.forEach((row, place) => {
        const first = Math.min(Math.floor(place / size) * size, count - size);
        attends[row] = rows.slice(first, first + size);
      });
    });
    return attends;
  }
  const reference = (layer: PatchAttention, x: Tensor, attends: number[][]): Tensor =>
    denseAttention(layer, projected(layer, "qkv", x).split([6, 6, 6], 1), 2, attends);

  it.each(curves)("is dense attention within patches along %s", (curve) => {
    const layer = make(4);
    const x = new Parameter(random([cloud.size, 6], 8));
    const attends = attendedBy(curve, (count) => Math.min(4, count));
    expect(attends.some((keys, row) => keys.indexOf(row) < 0)).toBe(false);
    const leaves = new Map<string, Tensor>([...layer.namedParameters(), ["x", x]]);
    sameFunction(
      leaves,
      () => layer.forward(cloud, x, curve),
      () => reference(layer, x, attends),
    );
  });

  it("has patches as large as an item at most, or as the smallest item", () => {
    const x = random([cloud.size, 6], 8);
    const smallest = Math.min(...cloud.counts);
    const batch = reference(
      make(120),
      x,
      attendedBy("z", () => smallest),
    );
    near(make(120, "batch").forward(cloud, x, "z"), batch);
    near(
      make(120).forward(cloud, x, "z"),
      reference(
        make(120),
        x,
        attendedBy("z", (count) => count),
      ),
    );
    expect(make(120).forward(cloud, x, "z").toFlatArray()).not.toEqual(batch.toFlatArray());
    expect([make(120).patchRule, new PatchAttention(6, 2, { generator: generator() }).patchSize]).toEqual([
      "item",
      120,
    ]);
  });

  it("has gradients", () => {
    const small = cloudOf(makeSparseScene([5, 3], 4));
    const layer = make(3);
    const x = new Parameter(random([8, 6], 9));
    gradcheck((input) => layer.forward(small, input, "hilbert"), [x]);
    checkGradients(layer.namedParameters(), () => layer.forward(small, x, "hilbert"));
  });

  it("does not depend on the order of the points, to the bit", () => {
    // At most two points a cell: the sum of three depends on their order.
    const scene = makeSparseScene([40, 11], 8);
    const grid = Int32Array.from([...scene.grid.slice(0, 120), ...scene.grid.slice(0, 30), ...scene.grid.slice(120)]);
    const layer = new PatchAttention(6, 2, { generator: generator(), patchSize: 7 });
    const coordinates = random([61, 3], 3).to("f32");
    const features = random([61, 6], 4).to("f32");
    const run = (rows: number[]): Tensor => {
      const at = tensor(Int32Array.from(rows));
      const points = rows.flatMap((row) => [...grid.slice(3 * row, 3 * row + 3)]);
      const built = cloudOf({
        grid: Int32Array.from(points),
        counts: [50, 11],
        coordinates: indexSelect(coordinates, 0, at),
      });
      expect(built.size).toBe(51);
      const attended = layer.forward(built, built.mean(indexSelect(features, 0, at)), "hilbert-trans");
      return attended.add(sum(built.coordinates));
    };
    const shuffle = (begin: number, end: number): number[] =>
      range(begin, end).toSorted((a, b) => ((a * 29) % 61) - ((b * 29) % 61));
    const permuted = [...shuffle(0, 50), ...shuffle(50, 61)];
    expect(permuted).not.toEqual(range(0, 61));
    sameBits(run(permuted), run(range(0, 61)));
  });

  it("has names and shapes of its own, and frees what it makes", () => {
    const layer = new PatchAttention(6, 2, { generator: generator() });
    expect([...layer.stateDict()].map(([name, { shape }]) => [name, shape])).toEqual([
      ["qkv.weight", [18, 6]],
      ["qkv.bias", [18]],
      ["proj.weight", [6, 6]],
      ["proj.bias", [6]],
      ["q_norm.weight", [3]],
      ["q_norm.bias", [3]],
      ["k_norm.weight", [3]],
      ["k_norm.bias", [3]],
    ]);
    const live = range(0, 20).map(() => {
      scope(() => {
        const built = cloudOf(makeScene([23, 9], 6));
        const output = layer.forward(built, zeros([built.size, 6]), "z");
        layer.zeroGrad();
        backward(sum(output));
      });
      return memory().liveTensors;
    });
    expect(live).toEqual(new Array<number>(20).fill(live[0]!));
  });

  it("refuses heads that do not divide, rows of another cloud, patches of no rows", () => {
    for (const heads of [5, 0, -2, 1.5])
      expect(() => new PatchAttention(6, heads, { generator: generator() })).toThrow(
        new ValueError(`[PatchAttention] 6 channels do not divide into ${heads} heads`),
      );
    const layer = make(4);
    for (const shape of [
      [cloud.size - 1, 6],
      [cloud.size + 1, 6],
      [cloud.size, 5],
      [cloud.size, 1, 6],
    ]) {
      const forward = (): Tensor => layer.forward(cloud, zeros(shape, f64), "z");
      expect(forward).toThrow(ShapeError);
      expect(forward).toThrow(`[PatchAttention] x has shape [${shape}], expected [${cloud.size},6]`);
    }
    for (const patchSize of [0, -1, 1.5, NaN])
      expect(() => make(patchSize)).toThrow(
        new ValueError(`[PatchAttention] patchSize is ${patchSize}, expected an integer of at least 1`),
      );
    expect(() => new PatchAttention(6, 2, { generator: generator(), patchRule: "scene" as "item" })).toThrow(
      new ValueError("[PatchAttention] patchRule is scene, expected item or batch"),
    );
  });
});

describe("ContextAttention", () => {
  const offsets = Int32Array.from([0, 4, 5, 9, 12]);
  const context = (ends = [0, 3, 5, 5, 9], tokens = random([ends.at(-1)!, 5], 2)): Context => ({
    tokens,
    offsets: Int32Array.from(ends),
  });
  const make = (): ContextAttention => shuffled(new ContextAttention(6, 2, 5, { generator: generator(), ...f64 }), 0.7);

  function reference(layer: ContextAttention, x: Tensor, { tokens, offsets: ends }: Context): Tensor {
    const attends = range(0, 4).flatMap((item) =>
      range(offsets[item]!, offsets[item + 1]!).map(() => range(ends[item]!, ends[item + 1]!)),
    );
    const keysAndValues = projected(layer, "kv", tokens).split([6, 6], 1);
    return denseAttention(layer, [projected(layer, "q", x), ...keysAndValues], 2, attends);
  }

  it("is dense attention to the tokens of the item, which may have none", () => {
    const layer = make();
    const [x, tokens] = [new Parameter(random([12, 6], 1)), new Parameter(random([9, 5], 2))];
    const leaves = new Map<string, Tensor>([...layer.namedParameters(), ["x", x], ["tokens", tokens]]);
    const words = context(undefined, tokens);
    sameFunction(
      leaves,
      () => layer.forward(x, offsets, words),
      () => reference(layer, x, words),
    );
    checkGradients(leaves, () => layer.forward(x, offsets, words));
    gradcheck((input, other) => layer.forward(input, offsets, context(undefined, other)), [x, tokens]);
  });

  it("gives an item without tokens the bias of the projection, and all of them where there is no token at all", () => {
    const layer = make();
    const x = new Parameter(random([12, 6], 1));
    const bias = layer.stateDict().get("proj.bias")!;
    const output = layer.forward(x, offsets, context());
    sameBits(output.narrow(0, 5, 4).contiguous(), bias.expand([4, 6]).contiguous());
    expect(output.narrow(0, 0, 1).flatten().toFlatArray()).not.toEqual(bias.toFlatArray());
    const silent = layer.forward(x, offsets, context([0, 0, 0, 0, 0]));
    sameBits(silent, bias.expand([12, 6]).contiguous());
    backward(sum(silent));
    expect(x.grad!.toFlatArray()).toEqual(new Array<number>(72).fill(0));
    compareNumbers(
      "gradient",
      layer.stateDict().get("proj.bias")!.grad!.toFlatArray(),
      new Array<number>(6).fill(12),
      0,
    );
  });

  it("keeps items apart, to the bit", () => {
    const layer = make();
    const x = random([12, 6], 1);
    const whole = layer.forward(x, offsets, context());
    const last = layer.forward(x.narrow(0, 9, 3).contiguous(), Int32Array.from([0, 3]), {
      tokens: context().tokens.narrow(0, 5, 4).contiguous(),
      offsets: Int32Array.from([0, 4]),
    });
    sameBits(whole.narrow(0, 9, 3).contiguous(), last);
  });

  it("has names and shapes of its own", () => {
    expect([...make().stateDict()].map(([name, { shape }]) => [name, shape])).toEqual([
      ["q.weight", [6, 6]],
      ["q.bias", [6]],
      ["kv.weight", [12, 5]],
      ["kv.bias", [12]],
      ["proj.weight", [6, 6]],
      ["proj.bias", [6]],
      ["q_norm.weight", [3]],
      ["q_norm.bias", [3]],
      ["k_norm.weight", [3]],
      ["k_norm.bias", [3]],
    ]);
  });

  it("refuses what does not fit", () => {
    const layer = make();
    const x = random([12, 6], 1);
    const run = (input: Tensor, words: Context) => (): Tensor => layer.forward(input, offsets, words);
    expect(() => new ContextAttention(6, 4, 5, { generator: generator() })).toThrow(ValueError);
    for (const [body, message] of [
      [run(random([11, 6]), context()), "x has shape [11,6], expected [12,6]"],
      [run(random([12, 5]), context()), "x has shape [12,5], expected [12,6]"],
      [run(x, context(undefined, random([8, 5]))), "context.tokens has shape [8,5], expected [9,5]"],
      [run(x, context(undefined, random([9, 6]))), "context.tokens has shape [9,6], expected [9,5]"],
    ] as const) {
      expect(body).toThrow(ShapeError);
      expect(body).toThrow(`[ContextAttention] ${message}`);
    }
    expect(run(x, context([0, 3, 5]))).toThrow(new ValueError("[ContextAttention] context has 2 items, expected 4"));
    expect(run(x, context([0, 3, 1, 5, 9]))).toThrow(ValueError);
  });
});
