import { describe, expect, it } from "vitest";
import * as md from "../../src/index.js";

const { causal, level2 } = md.masks;
const device = "cuda";

interface Sizes {
  batch?: number;
  heads?: number;
  queries: number;
  keys: number;
  headDim: number;
}

/** The op on the device against the CPU's, values and gradients, with inputs q, k, v and those of `more`. */
function compare(
  { batch = 1, heads = 2, queries, keys, headDim }: Sizes,
  options: (more: readonly md.Tensor[]) => md.MaskedAttentionOptions,
  more: md.OpCase["inputs"] = [],
): void {
  md.runOpCaseOn(device, {
    primitives: ["maskedAttention", "maskedAttentionGrad"],
    name: "maskedAttention",
    inputs: [
      { shape: [batch, heads, queries, headDim], range: [-2, 2] },
      { shape: [batch, heads, keys, headDim], range: [-2, 2] },
      { shape: [batch, heads, keys, headDim] },
      ...more,
    ],
    run: (q, k, v, ...rest) => md.maskedAttention(q!, k!, v!, options(rest)),
    tolerance: 3e-5,
  });
}

describe.skipIf(md.cudaInfo().devices.length === 0)("attention on cuda", () => {
  it.each([1, 17, 40, 128])("takes heads of %i and several tiles", (headDim) => {
    compare({ heads: 1, queries: 9, keys: 35, headDim }, () => ({}));
  });

  it("refuses longer heads", () => {
    md.scope(() => {
      const x = md.ones([1, 1, 2, 129], { device });
      expect(() => md.maskedAttention(x, x, x)).toThrow(
        "[maskedAttention] q has shape [1,1,2,129], expected heads of at most 128 on a CUDA device",
      );
    });
  });

  it("meets blocks of keys under a causal mask", () => {
    compare({ heads: 1, queries: 67, keys: 70, headDim: 4 }, () => ({ mask: causal() }));
  });

  for (const rotateFirst of [false, true]) {
    for (const dropout of [false, true]) {
      it(`prepares rows, ${rotateFirst ? "rotation" : "norm"} first, ${dropout ? "with" : "without"} dropout`, () => {
        const mask = level2({ samples: 11, tokensPerSample: 3, conditionTokens: 9, conditionLengths: [9, 7] });
        const headDim = 15;
        compare(
          { batch: 2, queries: 42, keys: 42, headDim },
          ([qWeight, qBias, kWeight, qPositions, kPositions]) => ({
            mask,
            qNorm: { weight: qWeight!, bias: qBias },
            kNorm: { weight: kWeight! },
            qRotary: md.rotaryTable(qPositions!, 12, { scale: 3 }),
            kRotary: md.rotaryTable(kPositions!, 12, { scale: 3 }),
            rotateFirst,
            dropout: dropout ? { p: 0.3, generator: new md.Generator(7) } : undefined,
          }),
          [
            { shape: [headDim] },
            { shape: [headDim] },
            { shape: [headDim] },
            { shape: [2, 42, 3], grad: false },
            { shape: [1, 42, 3], grad: false },
          ],
        );
      });
    }
  }

  it("keeps NaN of padding tokens away, and gives the same bits again", () => {
    const mask = level2({ samples: 2, tokensPerSample: 1, conditionTokens: 6, conditionLengths: [4, 4] });
    const gradients = (): Float32Array[] =>
      md.scope(() => {
        const generator = new md.Generator(3);
        const padded = (): md.Tensor => {
          const x = md.cat(
            [md.randn([2, 3, 6, 12], { generator, device }), md.full([2, 3, 2, 12], NaN, { device })],
            2,
          );
          x.requiresGrad = true;
          return x;
        };
        const inputs = [padded(), padded(), padded()];
        const weight = md.ones([12], { device });
        weight.requiresGrad = true;
        const out = md.maskedAttention(inputs[0]!, inputs[1]!, inputs[2]!, {
          mask,
          qNorm: { weight },
          kNorm: { weight },
        });
        md.sum(out.mul(out)).backward();
        return [out, ...inputs.map(({ grad }) => grad!), weight.grad!].map((x) => x.data() as Float32Array);
      });
    const [first, second] = [gradients(), gradients()];
    expect(first.every((values) => values.every(Number.isFinite))).toBe(true);
    expect(second).toEqual(first);
  });
});
