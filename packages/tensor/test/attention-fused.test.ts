import { describe, expect, it } from "vitest";
import * as md from "../src/index.js";

const { causal, dense, level2, varlen } = md.masks;

function random(shape: number[], seed: number, dtype: "f32" | "f64" = "f64"): md.Tensor {
  const next = md.mulberry32(seed);
  const size = shape.reduce((total, extent) => total * extent, 1);
  return md.tensor(
    Float64Array.from({ length: size }, () => next() * 2 - 1),
    { shape, dtype },
  );
}
const bits = (x: md.Tensor): string => Buffer.from(x.data().buffer).toString("latin1");
const bool = (shape: number[]): md.Tensor =>
  md.tensor(
    Uint8Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Number((i * 7 + 3) % 4 > 0)),
    { shape, dtype: "bool" },
  );

interface Case {
  name: string;
  queries: number;
  keys: number;
  mask?: md.AttentionMask;
  batch?: number;
}
const cases: Case[] = [
  { name: "no mask", queries: 37, keys: 70 },
  { name: "no queries", queries: 0, keys: 5 },
  { name: "no keys", queries: 5, keys: 0 },
  { name: "one query", queries: 1, keys: 301 },
  { name: "causal", queries: 50, keys: 50, mask: causal() },
  { name: "dense", queries: 9, keys: 20, mask: dense(bool([9, 20])) },
  {
    name: "level2",
    queries: 66,
    keys: 66,
    mask: level2({ samples: 6, tokensPerSample: 2, conditionTokens: 54, conditionLengths: [54, 50] }),
  },
  {
    name: "level2, long samples",
    queries: 40,
    keys: 73,
    mask: level2({ samples: 2, tokensPerSample: 20, conditionTokens: 33 }),
  },
  {
    name: "varlen",
    batch: 1,
    queries: 30,
    keys: 41,
    mask: varlen({ cuSeqlensQ: [0, 12, 12, 30], cuSeqlensK: [0, 20, 25, 41] }),
  },
];

/** The inputs of a case with both norms, all of them leaves. */
function inputsOf({ queries, keys, batch = 2 }: Case, headDim: number, dtype: "f32" | "f64"): md.Tensor[] {
  const shapes = [
    [batch, 3, queries, headDim],
    [batch, 3, keys, headDim],
    [batch, 3, keys, headDim],
    ...Array.from({ length: 4 }, () => [headDim]),
  ];
  const inputs = shapes.map((shape, i) => random(shape, i + 1, dtype));
  for (const input of inputs) input.requiresGrad = true;
  return inputs;
}
const tables = ({ queries, keys, batch = 2 }: Case, headDim: number, dtype: "f32" | "f64"): [md.Tensor, md.Tensor] => [
  md.rotaryTable(random([batch, queries, 3], 11, dtype), headDim, { scale: 3 }),
  md.rotaryTable(random([1, keys, 3], 12, dtype), headDim, { scale: 3 }),
];

type Attention = (inputs: readonly md.Tensor[]) => md.Tensor;

/** The op with everything fused, and the same in ops of its own. */
function pair(
  at: Case,
  headDim: number,
  rotateFirst: boolean,
  dtype: "f32" | "f64",
  [qRotary, kRotary] = tables(at, headDim, dtype),
): [fused: Attention, plain: Attention] {
  const prepared = (x: md.Tensor, weight: md.Tensor, bias: md.Tensor, table: md.Tensor): md.Tensor => {
    const rotate = (y: md.Tensor): md.Tensor => md.applyRotary(y, table);
    const norm = (y: md.Tensor): md.Tensor => md.layerNorm(y, { weight, bias, eps: 1e-3 });
    return rotateFirst ? norm(rotate(x)) : rotate(norm(x));
  };
  const { mask } = at;
  return [
    ([q, k, v, qWeight, qBias, kWeight, kBias]) =>
      md.maskedAttention(q!, k!, v!, {
        mask,
        qNorm: { weight: qWeight!, bias: qBias },
        kNorm: { weight: kWeight!, bias: kBias },
        normEps: 1e-3,
        qRotary,
        kRotary,
        rotateFirst,
      }),
    ([q, k, v, qWeight, qBias, kWeight, kBias]) =>
      md.maskedAttention(prepared(q!, qWeight!, qBias!, qRotary), prepared(k!, kWeight!, kBias!, kRotary), v!, {
        mask,
      }),
  ];
}

/** Output and gradients of all inputs, as plain numbers. */
function outcome(attention: Attention, inputs: readonly md.Tensor[]): number[][] {
  const leaves = inputs.map((input) => {
    const leaf = input.detach();
    leaf.requiresGrad = true;
    return leaf;
  });
  const out = attention(leaves);
  md.sum(out.mul(random(out.shape as number[], 20, out.dtype as "f32"))).backward();
  return [out, ...leaves.map((leaf) => leaf.grad ?? md.zeros(leaf.shape as number[]))].map((x) => x.toFlatArray());
}

function expectClose(found: number[][], expected: number[][], tolerance: number): void {
  expect(found.map((x) => x.length)).toEqual(expected.map((x) => x.length));
  found.forEach((values, i) =>
    values.forEach((value, j) => {
      const want = expected[i]![j]!;
      if (!(Math.abs(value - want) <= tolerance * (1 + Math.abs(want)))) {
        expect.fail(`output ${i}, element ${j}: found ${value}, expected ${want}`);
      }
    }),
  );
}

describe("norm and rotation fused into attention", () => {
  for (const at of cases) {
    for (const rotateFirst of [false, true]) {
      it(`${at.name}, ${rotateFirst ? "rotation first" : "norm first"}: equals ops of their own, gradients included`, () => {
        for (const headDim of [6, 18, 20]) {
          const [fused, plain] = pair(at, headDim, rotateFirst, "f64");
          const inputs = inputsOf(at, headDim, "f64");
          expectClose(outcome(fused, inputs), outcome(plain, inputs), 1e-12);
        }
        const [fused, plain] = pair(at, 24, rotateFirst, "f32");
        const inputs = inputsOf(at, 24, "f32");
        expectClose(outcome(fused, inputs), outcome(plain, inputs), 2e-4);
      });
    }
  }

  it("passes the gradient check, and each part may be left out", () => {
    const at: Case = { name: "", queries: 3, keys: 4, batch: 1 };
    const [q, k, v, weight, bias] = inputsOf(at, 6, "f64") as [md.Tensor, md.Tensor, md.Tensor, md.Tensor, md.Tensor];
    const [qRotary, kRotary] = tables(at, 6, "f64");
    for (const rotateFirst of [false, true]) {
      md.gradcheck(
        (q, k, v, weight, bias) =>
          md.maskedAttention(q!, k!, v!, { qNorm: { weight: weight!, bias: bias! }, qRotary, kRotary, rotateFirst }),
        [q, k, v, weight, bias],
      );
    }
    md.gradcheck(
      (q, k, v, weight) => md.maskedAttention(q!, k!, v!, { kNorm: { weight: weight! } }),
      [q, k, v, weight],
    );
    md.gradcheck((q, k, v) => md.maskedAttention(q!, k!, v!, { kRotary }), [q, k, v]);
  });

  it("keeps NaN of padding tokens away from the norms' gradients", () => {
    const mask = level2({ samples: 2, tokensPerSample: 1, conditionTokens: 6, conditionLengths: [4, 4] });
    const at: Case = { name: "", queries: 8, keys: 8, mask };
    const spoil = (x: md.Tensor, axis: number): md.Tensor => {
      const end = md.full([...x.shape.slice(0, axis), 2, ...x.shape.slice(axis + 1)], NaN);
      return md.cat([x.narrow(axis, 0, 6), end], axis).detach();
    };
    const inputs = inputsOf(at, 12, "f32");
    const [qRotary, kRotary] = tables(at, 12, "f32");
    for (const rotateFirst of [false, true]) {
      const [fused] = pair(at, 12, rotateFirst, "f32");
      const [spoilt] = pair(at, 12, rotateFirst, "f32", [spoil(qRotary, 1), spoil(kRotary, 1)]);
      const found = outcome(
        spoilt,
        inputs.map((input, i) => (i < 3 ? spoil(input, 2) : input)),
      );
      expect(found.flat().every(Number.isFinite)).toBe(true);
      expect(found.slice(4)).toEqual(outcome(fused, inputs).slice(4));
    }
  });

  it("refuses what does not fit, by name", () => {
    const at: Case = { name: "", queries: 3, keys: 4 };
    const [q, k, v, weight] = inputsOf(at, 12, "f32") as [md.Tensor, md.Tensor, md.Tensor, md.Tensor];
    const attention = (options: md.MaskedAttentionOptions) => () => md.maskedAttention(q, k, v, options);
    const [qRotary, kRotary] = tables(at, 12, "f32");
    expect(attention({ qNorm: { weight: md.ones([11]) } })).toThrow(
      "[maskedAttention] qNorm.weight has shape [11], expected [12]",
    );
    expect(attention({ kNorm: { weight, bias: md.ones([12], { dtype: "f64" }) } })).toThrow(md.DTypeError);
    expect(attention({ qRotary: kRotary })).toThrow("qRotary has shape [1,4,6,2], expected [2,3,pairs,2]");
    expect(attention({ kRotary: qRotary })).toThrow(md.ShapeError);
    expect(attention({ kRotary: md.zeros([2, 4, 7, 2]) })).toThrow("with at most 6 pairs");
    expect(attention({ qNorm: { weight }, normEps: 0 })).toThrow(md.ValueError);
    expect(attention({ dropout: { p: 1, generator: new md.Generator(0) } })).toThrow("p is 1, expected 0 <= p < 1");
  });
});

/** Philox4x32-10 (Salmon et al., 2011) of a key and a counter below 2^32. */
function philox(key: number, counter: number): number[] {
  let c = [BigInt(counter), 0n, 0n, 0n];
  let [k0, k1] = [BigInt(key), 0n];
  const low = 0xffffffffn;
  for (let round = 0; round < 10; round++) {
    const [p0, p1] = [0xd2511f53n * c[0]!, 0xcd9e8d57n * c[2]!];
    c = [(p1 >> 32n) ^ c[1]! ^ k0, p1 & low, (p0 >> 32n) ^ c[3]! ^ k1, p0 & low];
    [k0, k1] = [(k0 + 0x9e3779b9n) & low, (k1 + 0xbb67ae85n) & low];
  }
  return c.map(Number);
}

describe("dropout fused into attention", () => {
  // With the identity for values, the output is the weights themselves.
  const weights = (
    queries: number,
    keys: number,
    dropout?: { p: number; generator: md.Generator },
    mask?: md.AttentionMask,
  ) => {
    const q = random([2, 2, queries, keys], 1, "f32").mul(0.1);
    const k = random([2, 2, keys, keys], 2, "f32");
    return md.maskedAttention(q, k, md.eye(keys).reshape([1, 1, keys, keys]).expand([2, 2, keys, keys]), {
      dropout,
      mask,
    });
  };

  for (const mask of [undefined, level2({ samples: 10, tokensPerSample: 3, conditionTokens: 170 })]) {
    it(`drops a share p of ${mask ? "level2" : "all"} weights and scales the rest; the same state drops the same`, () => {
      const all = weights(200, 200, undefined, mask).toFlatArray();
      const draw = (seed: number): md.Tensor => weights(200, 200, { p: 0.3, generator: new md.Generator(seed) }, mask);
      const some = draw(3).toFlatArray();
      let dropped = 0,
        met = 0;
      some.forEach((weight, i) => {
        if (all[i] === 0) return;
        met++;
        if (weight === 0) dropped++;
        else expect(weight / all[i]!).toBeCloseTo(1 / (1 - 19661 / 65536), 4);
      });
      expect(Math.abs(dropped / met - 0.3)).toBeLessThan(0.01);
      expect(bits(draw(3)) === bits(draw(3))).toBe(true);
      expect(bits(draw(3)) === bits(draw(4))).toBe(false);
    });
  }

  it("keeps what Philox4x32-10 says of the place: 16 bits of draw (head, query, ⌊key / 8⌋)", () => {
    for (const [queries, keys] of [
      [21, 13],
      [1, 141],
    ] as const) {
      const kept = weights(queries, keys, { p: 0.5, generator: new md.Generator(7) }).toFlatArray();
      kept.forEach((weight, i) => {
        const [row, key] = [Math.floor(i / keys), i % keys];
        const words = philox(7, row * Math.ceil(keys / 8) + Math.floor(key / 8));
        const bits = (words[(key % 8) >> 1]! >>> (16 * (key % 2))) & 0xffff;
        expect(weight > 0).toBe(bits >= 32768);
      });
    }
  });

  it("passes the gradient check, in every kind of block", () => {
    for (const mask of [
      undefined,
      level2({ samples: 2, tokensPerSample: 2, conditionTokens: 5 }),
      level2({ samples: 1, tokensPerSample: 17, conditionTokens: 2 }),
    ]) {
      const tokens = mask ? mask.samples * mask.tokensPerSample + mask.conditionTokens : 9;
      const inputs = [1, 2, 3].map((seed) => random([1, 2, tokens, 3], seed));
      for (const input of inputs) input.requiresGrad = true;
      md.gradcheck(
        (q, k, v) => md.maskedAttention(q!, k!, v!, { mask, dropout: { p: 0.4, generator: new md.Generator(5) } }),
        inputs,
      );
    }
  });

  it("moves the generator past what it drew, and not at all for p = 0", () => {
    const generator = new md.Generator(1);
    weights(5, 9, { p: 0, generator });
    expect(generator.state.offset).toBe(0);
    weights(5, 9, { p: 0.1, generator });
    expect(generator.state.offset).toBe(2 * 2 * 5 * 2);
  });
});
