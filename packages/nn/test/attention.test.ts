import {
  cat,
  compareNumbers,
  Generator,
  masks,
  matmul,
  noGrad,
  rotaryEmbedding3d,
  softmax,
  type Tensor,
  tensor,
  where,
  zeros,
} from "@md/tensor";
import { describe, expect, it } from "vitest";
import { type LayerNorm, MultiheadAttention, Parameter, RotaryEmbedding3d } from "../src/index.js";
import { checkGradients, random } from "./parameter-gradients.js";

const near = (actual: Tensor, expected: Tensor): void => {
  expect(actual.shape).toEqual(expected.shape);
  compareNumbers("output", actual.toFlatArray(), expected.toFlatArray(), 1e-10);
};

function attention(qkNorm: boolean): MultiheadAttention {
  const layer = new MultiheadAttention(12, 2, { generator: new Generator(5), qkNorm, dtype: "f64" });
  layer.loadStateDict(
    new Map([...layer.namedParameters()].map(([name, value], i) => [name, random(value.shape, 20 + i).mul(0.5)])),
  );
  return layer;
}

/** Multi-head attention in elementary ops; allowed [Tq, Tk] is a bool tensor. */
function reference(
  layer: MultiheadAttention,
  x: Tensor,
  keyValue: Tensor,
  { xyz, keyXyz, allowed }: { xyz?: Tensor; keyXyz?: Tensor; allowed?: Tensor } = {},
): Tensor {
  const part = (input: Tensor, i: number, norm: LayerNorm | null, at?: Tensor): Tensor => {
    const weight = layer.inProjWeight.narrow(0, i * 12, 12);
    const projected = matmul(input, weight.transpose()).add(layer.inProjBias.narrow(0, i * 12, 12));
    const heads = projected.reshape([input.shape[0]!, input.shape[1]!, 2, 6]).permute([0, 2, 1, 3]);
    const normed = norm ? norm.forward(heads) : heads;
    return at ? rotaryEmbedding3d(normed, at) : normed;
  };
  const q = part(x, 0, layer.qNorm, xyz);
  const k = part(keyValue, 1, layer.kNorm, keyXyz);
  const scores = matmul(q, k.transpose()).mul(1 / Math.sqrt(6));
  const shut = tensor([-1e30], { dtype: "f64" });
  const weights = softmax(allowed ? where(allowed, scores, shut) : scores, -1);
  const merged = matmul(weights, part(keyValue, 2, null))
    .permute([0, 2, 1, 3])
    .reshape(x.shape);
  return matmul(merged, layer.outProj.weight.transpose()).add(layer.outProj.bias!);
}

describe("MultiheadAttention", () => {
  const x = random([2, 5, 12], 1);
  const scene = random([2, 7, 12], 2);

  it("attends itself", () => {
    const layer = attention(false);
    near(layer.forward(x), reference(layer, x, x));
  });

  it("drops weights in training alone, and draws anew each time", () => {
    const layer = new MultiheadAttention(12, 2, { generator: new Generator(5), dropout: 0.5, dtype: "f64" });
    const first = layer.forward(x).toFlatArray();
    expect(layer.forward(x).toFlatArray()).not.toEqual(first);
    layer.eval();
    near(layer.forward(x), reference(layer, x, x));
    expect(() => new MultiheadAttention(12, 2, { generator: new Generator(5), dropout: 1 })).toThrow(/dropout is 1/);
  });

  it("attends another sequence", () => {
    const layer = attention(true);
    near(layer.forward(x, { keyValue: scene }), reference(layer, x, scene));
  });

  it("masks, and norms queries and keys before it rotates them", () => {
    const layer = attention(true);
    const rotary = new RotaryEmbedding3d(6);
    const xyz = random([2, 5, 3], 8);
    const allowed = tensor(
      Uint8Array.from({ length: 25 }, (_, i) => Number((i * 7) % 3 > 0 || i % 6 === 0)),
      { shape: [5, 5], dtype: "bool" },
    );
    const actual = layer.forward(x, { rotary: rotary.forward(xyz), mask: masks.dense(allowed) });
    near(actual, reference(layer, x, x, { xyz, keyXyz: xyz, allowed }));
  });

  it("rotates queries and keys of different sequences apart", () => {
    const layer = attention(false);
    const rotary = new RotaryEmbedding3d(6);
    const [xyz, keyXyz] = [random([2, 5, 3], 8), random([2, 7, 3], 9)];
    const actual = layer.forward(x, {
      keyValue: scene,
      rotary: rotary.forward(xyz),
      keyRotary: rotary.forward(keyXyz),
    });
    near(actual, reference(layer, x, scene, { xyz, keyXyz }));
    near(layer.forward(x, { keyValue: scene, rotary: rotary.forward(xyz) }), reference(layer, x, scene, { xyz }));
  });

  it("gives the same from cached keys and values of the condition", () => {
    const layer = attention(true);
    const level2 = masks.level2({ samples: 5, tokensPerSample: 1, conditionTokens: 7 });
    const whole = layer.forward(cat([x, scene], 1), { mask: level2 }).narrow(1, 0, 5);
    const cached = noGrad(() => layer.projectKeyValue(scene));
    const own = layer.projectKeyValue(x);
    const joined = { k: cat([own.k, cached.k], 2), v: cat([own.v, cached.v], 2) };
    near(layer.attend(x, joined, { mask: level2 }), whole);
  });

  it("has gradients", () => {
    const layer = attention(true);
    const table = new RotaryEmbedding3d(6).forward(random([1, 3, 3], 8));
    const query = new Parameter(random([1, 3, 12], 4));
    const keyValue = new Parameter(random([1, 2, 12], 6));
    const keyRotary = table.narrow(1, 0, 2);
    checkGradients(new Map([...layer.namedParameters(), ["query", query], ["keyValue", keyValue]]), () =>
      layer.forward(query, { keyValue, rotary: table, keyRotary, mask: masks.causal() }),
    );
    checkGradients(new Map([["x", query]]), () => layer.forward(query, { rotary: table }));
  });

  it("has PyTorch's names and initial values", () => {
    const layer = new MultiheadAttention(12, 2, { generator: new Generator(1), qkNorm: true });
    expect([...layer.stateDict().keys()]).toEqual([
      "in_proj_weight",
      "in_proj_bias",
      "out_proj.weight",
      "out_proj.bias",
      "q_norm.weight",
      "q_norm.bias",
      "k_norm.weight",
      "k_norm.bias",
    ]);
    const largest = (values: Tensor): number => Math.max(...values.toFlatArray().map(Math.abs));
    expect(largest(layer.inProjWeight)).toBeLessThanOrEqual(Math.sqrt(6 / 48));
    expect(largest(layer.inProjWeight)).toBeGreaterThan(0.9 * Math.sqrt(6 / 48));
    expect(largest(layer.inProjBias)).toBe(0);
    expect(largest(layer.outProj.bias!)).toBe(0);
  });

  it("refuses heads that do not divide the width, and other shapes", () => {
    expect(() => new MultiheadAttention(12, 5, { generator: new Generator(1) })).toThrow(
      /12 channels do not divide into 5 heads/,
    );
    expect(() => attention(false).forward(zeros([2, 5, 8], { dtype: "f64" }))).toThrow(
      /\[MultiheadAttention\] x has shape \[2,5,8\]/,
    );
  });
});

describe("RotaryEmbedding3d", () => {
  it("depends on differences of positions alone, and not at all at the origin", () => {
    const layer = attention(false);
    const x = random([1, 4, 12], 3);
    const rotary = new RotaryEmbedding3d(6, { ropeScale: 2, base: 100 });
    const xyz = random([1, 4, 3], 4);
    const at = (positions: Tensor): Tensor => layer.forward(x, { rotary: rotary.forward(positions) });
    near(at(xyz.add(5)), at(xyz));
    near(at(zeros([1, 4, 3], { dtype: "f64" })), layer.forward(x));
    expect(at(xyz).toFlatArray()).not.toEqual(layer.forward(x).toFlatArray());
    const scaled = new RotaryEmbedding3d(6, { base: 100 });
    near(at(xyz), layer.forward(x, { rotary: scaled.forward(xyz.mul(2)) }));
    expect(rotary.parameters()).toEqual([]);
  });
});
