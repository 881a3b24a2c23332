import { maskedAttention, masks, type Tensor } from "@md/tensor";
import { alongCurve, type BenchCase, random, stateless, type Suite, withGradients } from "../suite.js";

// q, k and v are [tokens, heads, headDim], as a projection gives them, and so is the result.
type Attend = (q: Tensor, k: Tensor, v: Tensor) => Tensor;

const attend = (mask: masks.AttentionMask | undefined): Attend => {
  const byHead = (x: Tensor): Tensor => x.permute([1, 0, 2]).unsqueeze(0);
  return (q, k, v) => maskedAttention(byHead(q), byHead(k), byHead(v), { mask }).squeeze(0).permute([1, 0, 2]);
};

/** Two products a pair of query and key forward, five backward, one of them to compute the scores again. */
const flopsOf = (pairs: number, heads: number, headDim: number, backward: boolean): number =>
  (backward ? 7 : 2) * 2 * pairs * heads * headDim;

function level2(samples: number, conditionTokens: number, backward: boolean): Omit<BenchCase, "name"> {
  const [heads, headDim, tokensPerSample] = [4, 18, 1];
  const tokens = samples * tokensPerSample + conditionTokens;
  const params = { samples, tokensPerSample, conditionTokens };
  const forward = attend(masks.level2(params));
  const count = backward ? 4 : 3;
  return {
    inputs: () => Array.from({ length: count }, (_, i) => random([tokens, heads, headDim], i + 1)),
    bind: backward ? withGradients(forward, 3) : stateless(forward),
    peer: { op: backward ? "level2AttentionGrad" : "level2Attention", params },
    flops: flopsOf(tokens * conditionTokens + samples * tokensPerSample ** 2, heads, headDim, backward),
  };
}

function patch(tokens: number, heads: number, headDim: number): Omit<BenchCase, "name"> {
  const size = 120;
  const cuSeqlensQ = Array.from({ length: tokens / size + 1 }, (_, i) => i * size);
  return {
    inputs: () => Array.from({ length: 4 }, (_, i) => random([tokens, heads, headDim], i + 1)),
    bind: withGradients(attend(masks.varlen({ cuSeqlensQ })), 3),
    peer: { op: "patchAttentionGrad", params: { patch: size } },
    flops: flopsOf(tokens * size, heads, headDim, true),
  };
}

const sceneTokens = 4000;
const contextTokens = 54;
const patchShapes = [
  [2, 18],
  [4, 18],
  [8, 18],
  [12, 16],
  [32, 12],
] as const;

/** Level-2 attention of Mini-Diffuser (Eq. 13), attention within patches of a cloud, and how both grow. */
export const attentionSuite: Suite = {
  name: "attention",
  cases: [
    {
      ...level2(64, sceneTokens + contextTokens, false),
      name: "Level-2, forward",
      countsFor: ["level2-infer", "scaling"],
    },
    {
      ...level2(64, sceneTokens + contextTokens, true),
      name: "Level-2, forward and backward",
      countsFor: ["level2-train", "level2-memory", "scaling"],
    },
    ...patchShapes.map(([heads, headDim]): BenchCase => ({
      ...patch(4080, heads, headDim),
      name: `patches of 120, ${heads} heads of ${headDim}, forward and backward`,
      countsFor: ["patch-attention", "scaling"],
    })),
    ...alongCurve(
      [960, 3000, 9960, 30000, 99960].map((tokens): BenchCase => ({
        ...patch(tokens, 4, 18),
        name: `patches of 120, ${tokens} tokens, forward and backward`,
        threads: "one",
        curve: { name: "patch attention", x: tokens },
        countsFor: ["growth-patch", "growth-memory"],
      })),
    ),
    ...alongCurve(
      [1000, 2000, 4000, 8000].map((scene): BenchCase => ({
        ...level2(64, scene, true),
        peer: undefined,
        name: `Level-2, ${scene} scene tokens, forward and backward`,
        threads: "one",
        curve: { name: "masked global attention by scene tokens", x: scene },
        countsFor: ["growth-scene", "growth-memory"],
      })),
    ),
    ...alongCurve(
      [1, 64, 128, 192, 256].map((samples): BenchCase => ({
        ...level2(samples, 1000, true),
        peer: undefined,
        name: `Level-2, ${samples} samples, forward and backward`,
        threads: "one",
        curve: { name: "masked global attention by samples", x: samples },
        countsFor: ["growth-samples", "growth-memory"],
      })),
    ),
  ],
};
