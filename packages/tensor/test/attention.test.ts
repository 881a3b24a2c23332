import { native } from "@md/native";
import { describe, expect, it } from "vitest";
import * as md from "../src/index.js";

const { causal, dense, level2, varlen } = md.masks;

function random(shape: number[], seed: number, dtype: "f32" | "f64" = "f32"): md.Tensor {
  const next = md.mulberry32(seed);
  const size = shape.reduce((total, extent) => total * extent, 1);
  return md.tensor(
    Float32Array.from({ length: size }, () => next() * 4 - 2),
    { shape, dtype },
  );
}

/** [batch, heads, tokens, headDim] with the tokens of `range` replaced by `value`. */
function replaced(x: md.Tensor, [begin, end]: [number, number], value: number): md.Tensor {
  const [batch, heads, tokens, headDim] = x.shape as [number, number, number, number];
  const data = x.data() as Float32Array;
  for (let row = 0; row < batch * heads; row++)
    data.fill(value, (row * tokens + begin) * headDim, (row * tokens + end) * headDim);
  return md.tensor(data, { shape: x.shape });
}

/** The bytes as one string: equal for equal bits, -0 and NaN included. */
const bits = (x: md.Tensor): string => Buffer.from(x.data().buffer).toString("latin1");

describe("level2 isolation", () => {
  for (const [samples, length] of [
    [7, 1],
    [64, 1],
    [5, 3],
    [3, 20],
  ] as const) {
    for (const value of [3.5, 1e30, NaN]) {
      it(`${samples} samples of ${length}: sample 2 set to ${value} changes no bit of another token`, () => {
        const condition = 150;
        const tokens = samples * length + condition;
        const mask = level2({ samples, tokensPerSample: length, conditionTokens: condition });
        const [q, k, v] = [1, 2, 3].map((seed) => random([2, 3, tokens, 18], seed)) as [
          md.Tensor,
          md.Tensor,
          md.Tensor,
        ];
        const own: [number, number] = [2 * length, 3 * length];
        const before = md.maskedAttention(q, k, v, { mask });
        const after = md.maskedAttention(replaced(q, own, value), replaced(k, own, value), replaced(v, own, value), {
          mask,
        });
        for (const [begin, end] of [
          [0, own[0]],
          [own[1], tokens],
        ] as const) {
          expect(bits(after.narrow(2, begin, end - begin)) === bits(before.narrow(2, begin, end - begin))).toBe(true);
        }
        expect(bits(after.narrow(2, own[0], length)) === bits(before.narrow(2, own[0], length))).toBe(false);
      });
    }
  }

  it("padded condition tokens, NaN included, reach nothing and get zeros", () => {
    const mask = level2({ samples: 3, tokensPerSample: 2, conditionTokens: 10, conditionLengths: [6, 6] });
    const [q, k, v] = [1, 2, 3].map((seed) => random([2, 2, 16, 12], seed)) as [md.Tensor, md.Tensor, md.Tensor];
    const before = md.maskedAttention(q, k, v, { mask });
    const [q2, k2, v2] = [q, k, v].map((x) => replaced(x, [12, 16], NaN)) as [md.Tensor, md.Tensor, md.Tensor];
    for (const x of [q2, k2, v2]) x.requiresGrad = true;
    const after = md.maskedAttention(q2, k2, v2, { mask });
    expect(bits(after) === bits(before)).toBe(true);
    md.sum(after.mul(random([2, 2, 16, 12], 4))).backward();
    expect(
      after
        .narrow(2, 12, 4)
        .toFlatArray()
        .every((x) => x === 0),
    ).toBe(true);
    for (const x of [q2, k2, v2]) {
      expect(
        x
          .grad!.narrow(2, 12, 4)
          .toFlatArray()
          .every((g) => g === 0),
      ).toBe(true);
      expect(x.grad!.toFlatArray().every(Number.isFinite)).toBe(true);
    }
  });

  it("action queries alone give the bits of the whole sequence", () => {
    const [q, k, v] = [1, 2, 3].map((seed) => random([1, 2, 130, 15], seed)) as [md.Tensor, md.Tensor, md.Tensor];
    const mask = level2({ samples: 10, tokensPerSample: 3, conditionTokens: 100 });
    const whole = md.maskedAttention(q, k, v, { mask });
    const actions = md.maskedAttention(q.narrow(2, 0, 30), k, v, { mask });
    expect(bits(actions) === bits(whole.narrow(2, 0, 30))).toBe(true);
  });
});

describe("own keys and values beside those of the condition", () => {
  for (const [samples, length, condition] of [
    [1, 1, 300],
    [7, 1, 150],
    [130, 1, 40],
    [5, 3, 20],
    [3, 20, 33],
    [4, 2, 0],
  ] as const) {
    for (const p of [0, 0.3]) {
      it(`${samples} samples of ${length} beside ${condition}, dropout ${p}: the bits of all keys in one tensor`, () => {
        const actions = samples * length;
        const conditionLengths = [condition, Math.floor(condition / 2)];
        const mask = level2({ samples, tokensPerSample: length, conditionTokens: condition, conditionLengths });
        const shape = (tokens: number): number[] => [2, tokens, 3, 18];
        const seeds = [actions, actions, actions, condition, condition];
        const run = (apart: boolean): string[] => {
          const leaves = seeds.map((tokens, i) => random(shape(tokens), i + 1));
          for (const leaf of leaves) leaf.requiresGrad = true;
          const [q, ownK, ownV, k, v] = leaves.map((x) => x.permute([0, 2, 1, 3])) as [
            md.Tensor,
            md.Tensor,
            md.Tensor,
            md.Tensor,
            md.Tensor,
          ];
          const options = { mask, dropout: { p, generator: new md.Generator(3) } };
          const out = apart
            ? md.maskedAttention(q, k, v, { ...options, own: { k: ownK, v: ownV } })
            : md.maskedAttention(q, md.cat([ownK, k], 2), md.cat([ownV, v], 2), options);
          md.sum(out.mul(random([2, 3, actions, 18], 9))).backward();
          return [out, ...leaves.map((leaf) => leaf.grad!)].map(bits);
        };
        expect(run(true)).toEqual(run(false));
      });
    }
  }

  it("refuses what does not fit", () => {
    const [q, k] = [random([2, 3, 4, 6], 1), random([2, 3, 9, 6], 2)];
    const mask = level2({ samples: 4, tokensPerSample: 1, conditionTokens: 9 });
    const own = { k: q, v: q };
    const attention = (options: md.MaskedAttentionOptions) => () => md.maskedAttention(q, k, k, options);
    expect(attention({ own })).toThrow("[maskedAttention] own came with another mask than level2");
    expect(attention({ own, mask, kNorm: { weight: md.ones([6]) } })).toThrow("own came with kNorm or kRotary");
    const half = (part: object): md.MaskedAttentionOptions => ({ mask, own: part as { k: md.Tensor; v: md.Tensor } });
    expect(attention(half({ v: q }))).toThrow("[maskedAttention] own.k is absent, expected both keys and values");
    expect(attention(half({ k: q }))).toThrow(md.ValueError);
    expect(attention({ own: { k: q, v: k }, mask })).toThrow("own.v has shape [2,3,9,6], expected [2,3,4,6]");
    expect(attention({ own: { k: q.to("f64"), v: q }, mask })).toThrow(md.DTypeError);
    expect(attention({ own, mask: level2({ samples: 4, tokensPerSample: 1, conditionTokens: 8 }) })).toThrow(
      md.ShapeError,
    );
  });
});

describe("maskedAttention", () => {
  it("gives the same bits run after run, gradients included", () => {
    const run = (): string => {
      const inputs = [1, 2, 3].map((seed) => random([1, 1, 700, 18], seed));
      for (const x of inputs) x.requiresGrad = true;
      const out = md.maskedAttention(inputs[0]!, inputs[1]!, inputs[2]!);
      md.sum(out.mul(random([1, 1, 700, 18], 4))).backward();
      return [out, ...inputs.map((x) => x.grad!)].map(bits).join();
    };
    expect(run() === run()).toBe(true);
  });

  it("gives its output and gradients in the memory order [batch, tokens, heads, headDim]", () => {
    const inputs = [1, 2, 3].map((seed) => random([2, 9, 3, 12], seed));
    for (const x of inputs) x.requiresGrad = true;
    const [q, k, v] = inputs.map((x) => x.permute([0, 2, 1, 3])) as [md.Tensor, md.Tensor, md.Tensor];
    const out = md.maskedAttention(q, k, v, { mask: causal() });
    expect(native.isContiguous(out.permute([0, 2, 1, 3]).slot)).toBe(true);
    md.sum(out).backward();
    for (const x of inputs) expect(native.isContiguous(x.grad!.slot)).toBe(true);
  });

  it("needs memory linear in the tokens", () => {
    md.scope(() => {
      const tokens = 4096;
      const x = random([1, 1, tokens, 8], 1);
      x.requiresGrad = true;
      md.resetPeakMemory();
      const before = md.memory().peakBytes;
      md.sum(md.maskedAttention(x, x, x)).backward();
      expect(md.memory().peakBytes - before).toBeLessThan((tokens * tokens * 4) / 8);
    });
  });

  it("keeps scores beyond the range of exp", () => {
    const q = md.tensor([[[[300, 0]]]]);
    const k = md.tensor([
      [
        [
          [300, 0],
          [-300, 0],
          [299.99, 0],
        ],
      ],
    ]);
    const v = md.tensor([
      [
        [
          [1, 0],
          [0, 1],
          [5, 5],
        ],
      ],
    ]);
    const [a, b] = md.maskedAttention(q, k, v).toFlatArray();
    const weight = 1 / (1 + Math.exp((300 * 0.01) / Math.SQRT2));
    expect(a).toBeCloseTo(1 - weight + 5 * weight, 2);
    expect(b).toBeCloseTo(5 * weight, 2);
  });

  it("refuses what does not fit, naming both sides", () => {
    const x = random([2, 4, 7, 18], 1);
    const attention =
      (mask: md.AttentionMask, y = x) =>
      () =>
        md.maskedAttention(y, y, y, { mask });
    expect(() => md.maskedAttention(x, random([2, 4, 7, 16], 1), x)).toThrow(
      "[maskedAttention] k has shape [2,4,7,16], expected [2,4,*,18] to match q",
    );
    expect(() => md.maskedAttention(x, x, random([2, 4, 6, 18], 1))).toThrow(md.ShapeError);
    expect(() => md.maskedAttention(x, x, random([2, 4, 7, 18], 1, "f64"))).toThrow(md.DTypeError);
    expect(() => md.maskedAttention(random([4, 7, 18], 1), x, x)).toThrow(md.ShapeError);
    expect(() => md.maskedAttention(x, x, x, { scale: NaN })).toThrow(md.ValueError);
    const sizes = { samples: 3, tokensPerSample: 1, conditionTokens: 4 };
    expect(attention(level2({ ...sizes, samples: 4 }))).toThrow(
      "expected 8 or 4 queries and 8 keys for 4 samples of 1 and 4 condition tokens",
    );
    expect(attention(level2({ ...sizes, tokensPerSample: 0 }))).toThrow(md.ValueError);
    expect(attention(level2({ ...sizes, conditionLengths: [4] }))).toThrow(md.ShapeError);
    expect(attention(level2({ ...sizes, conditionLengths: [] }))).toThrow("expected one for each of 2 items");
    expect(attention(level2({ ...sizes, conditionLengths: [4, 5] }))).toThrow(md.ValueError);
    expect(() => level2({ ...sizes, samples: 1.5 })).toThrow(md.ValueError);
    const flat = random([1, 4, 7, 18], 1);
    expect(attention(varlen({ cuSeqlensQ: [0, 7] }))).toThrow("q has a batch of 2, expected 1 with a varlen mask");
    for (const cuSeqlensQ of [[], [0], [0, 5], [1, 7], [0, 5, 3, 7]])
      expect(attention(varlen({ cuSeqlensQ }), flat)).toThrow(md.ValueError);
    expect(attention(varlen({ cuSeqlensQ: [0, 7], cuSeqlensK: [0, 3, 7] }), flat)).toThrow(md.ValueError);
    expect(attention(dense(random([7, 7], 1)))).toThrow(md.DTypeError);
    expect(attention(dense(md.zeros([7, 6], { dtype: "bool" })))).toThrow(
      "mask has shape [7,6], expected one that broadcasts to [2,4,7,7]",
    );
  });
});

describe("rotaryEmbedding3d", () => {
  it("makes dot products depend on the difference of positions alone", () => {
    const [q, k] = [random([1, 18], 1, "f64"), random([1, 18], 2, "f64")];
    const dot = (a: number[], b: number[]): number => {
      const at = (x: md.Tensor, p: number[]) => md.rotaryEmbedding3d(x, md.tensor([p], { dtype: "f64" }), { scale: 3 });
      return md.sum(at(q, a).mul(at(k, b))).item();
    };
    expect(dot([0.3, -1, 2], [1, 0.5, -0.25])).toBeCloseTo(dot([5.3, 1, -2], [6, 2.5, -4.25]), 10);
    expect(dot([0.3, -1, 2], [1, 0.5, -0.25])).not.toBeCloseTo(dot([0.3, -1, 2], [1, 0.5, 0.25]), 3);
  });

  it("follows the memory order of x", () => {
    const x = random([2, 5, 3, 12], 1);
    const out = md.rotaryEmbedding3d(x.permute([0, 2, 1, 3]), random([2, 5, 3], 2));
    expect(native.isContiguous(out.permute([0, 2, 1, 3]).slot)).toBe(true);
  });

  it("refuses what does not fit", () => {
    const x = random([2, 3, 5, 12], 1);
    expect(() => md.rotaryEmbedding3d(x, random([2, 5, 2], 2))).toThrow(
      "xyz has shape [2,5,2], expected [..., tokens, 3]",
    );
    expect(() => md.rotaryEmbedding3d(x, random([2, 4, 3], 2))).toThrow(md.ShapeError);
    expect(() => md.applyRotary(x, md.rotaryTable(random([2, 5, 3], 2), 18))).toThrow(md.ShapeError);
    expect(() => md.rotaryTable(random([5, 3], 2), 0)).toThrow(md.ValueError);
    expect(() => md.rotaryTable(random([5, 3], 2), 12, { scale: Infinity })).toThrow(md.ValueError);
    expect(() => md.applyRotary(x, md.rotaryTable(random([2, 5, 3], 2, "f64"), 12))).toThrow(md.DTypeError);
  });
});
