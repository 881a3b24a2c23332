import * as md from "../../src/index.js";
import type { OpCase } from "../../src/index.js";

const primitives = ["maskedAttention", "maskedAttentionGrad"];

interface Sizes {
  batch: number;
  heads: number;
  queries: number;
  keys: number;
  headDim: number;
}
type Allows = (batch: number, head: number, query: number, key: number) => boolean;

/** softmax(q kᵀ / √headDim) v over the keys that `allows` leaves, 0 where it leaves none. */
function attention({ batch, heads, queries, keys, headDim }: Sizes, allows: Allows) {
  return (q: number[], k: number[], v: number[]): number[] => {
    const out = new Array<number>(batch * heads * queries * headDim).fill(0);
    for (let b = 0; b < batch; b++) {
      for (let h = 0; h < heads; h++) {
        for (let i = 0; i < queries; i++) {
          const at = ((b * heads + h) * queries + i) * headDim;
          const met = Array.from({ length: keys }, (_, j) => j).filter((j) => allows(b, h, i, j));
          const scores = met.map((j) => {
            let dot = 0;
            for (let d = 0; d < headDim; d++) dot += q[at + d]! * k[((b * heads + h) * keys + j) * headDim + d]!;
            return dot / Math.sqrt(headDim);
          });
          const most = Math.max(...scores);
          const weights = scores.map((score) => Math.exp(score - most));
          const total = weights.reduce((sum, weight) => sum + weight, 0);
          met.forEach((j, n) => {
            for (let d = 0; d < headDim; d++) {
              out[at + d]! += (weights[n]! / total) * v[((b * heads + h) * keys + j) * headDim + d]!;
            }
          });
        }
      }
    }
    return out;
  };
}

function row(name: string, sizes: Sizes, mask: md.AttentionMask | undefined, allows: Allows): OpCase {
  const { batch, heads, queries, keys, headDim } = sizes;
  return {
    primitives,
    name: `maskedAttention: ${name}`,
    inputs: [
      { shape: [batch, heads, queries, headDim], range: [-2, 2] },
      { shape: [batch, heads, keys, headDim], range: [-2, 2] },
      { shape: [batch, heads, keys, headDim] },
    ],
    run: (q, k, v) => md.maskedAttention(q, k, v, { mask }),
    reference: attention(sizes, allows),
  };
}

function level2Row(
  samples: number,
  length: number,
  condition: number,
  headDim: number,
  queriesAll = true,
  lengths?: number[],
): OpCase {
  const actions = samples * length;
  const keys = actions + condition;
  const mask = md.masks.level2({
    samples,
    tokensPerSample: length,
    conditionTokens: condition,
    conditionLengths: lengths,
  });
  const valid = (b: number, token: number): boolean => token < actions + (lengths?.[b] ?? condition);
  const sizes = { batch: 2, heads: 2, queries: queriesAll ? keys : actions, keys, headDim };
  const suffix = (queriesAll ? "" : ", action queries") + (lengths ? `, lengths ${lengths}` : "");
  return row(
    `level2 ${samples}x${length}+${condition}, headDim ${headDim}${suffix}`,
    sizes,
    mask,
    (b, _, i, j) =>
      valid(b, i) &&
      valid(b, j) &&
      (j >= actions || (i < actions && Math.floor(i / length) === Math.floor(j / length))),
  );
}

function ownRow(samples: number, length: number, condition: number, headDim: number): OpCase {
  const [actions, heads] = [samples * length, 2];
  const base = level2Row(samples, length, condition, headDim, false);
  const side = (tokens: number): OpCase["inputs"][number] => ({ shape: [2, heads, tokens, headDim], range: [-2, 2] });
  const mask = md.masks.level2({ samples, tokensPerSample: length, conditionTokens: condition });
  const behind = (own: number[], others: number[]): number[] =>
    Array.from({ length: 2 * heads }, (_, row) => [
      ...own.slice(row * actions * headDim, (row + 1) * actions * headDim),
      ...others.slice(row * condition * headDim, (row + 1) * condition * headDim),
    ]).flat();
  return {
    primitives,
    name: `${base.name}, own keys apart`,
    inputs: [side(actions), side(actions), side(actions), side(condition), side(condition)],
    run: (q, ownK, ownV, k, v) => md.maskedAttention(q, k, v, { mask, own: { k: ownK, v: ownV } }),
    reference: (q, ownK, ownV, k, v) => base.reference!(q, behind(ownK, k), behind(ownV, v)),
  };
}

const cuSeqlensQ = [0, 3, 3, 8, 9];
const cuSeqlensK = [0, 2, 6, 6, 11];
const segment = (cuSeqlens: number[], token: number): number => cuSeqlens.findLastIndex((start) => start <= token);

export const attentionCases: OpCase[] = [
  row("no mask, headDim 12", { batch: 2, heads: 1, queries: 3, keys: 20, headDim: 12 }, undefined, () => true),
  row("no queries", { batch: 1, heads: 2, queries: 0, keys: 3, headDim: 4 }, undefined, () => true),
  row("no keys", { batch: 1, heads: 2, queries: 3, keys: 0, headDim: 4 }, undefined, () => true),
  row("no batch", { batch: 0, heads: 2, queries: 3, keys: 3, headDim: 4 }, undefined, () => true),
  row("one query", { batch: 1, heads: 2, queries: 1, keys: 21, headDim: 18 }, undefined, () => true),
  level2Row(1, 1, 130, 3, false, [130, 9]),
  ownRow(1, 1, 9, 6),
  ownRow(3, 2, 5, 7),
  ownRow(2, 17, 3, 3),
  level2Row(3, 1, 7, 15),
  level2Row(2, 3, 5, 6),
  level2Row(2, 17, 3, 3),
  level2Row(3, 2, 4, 5, false),
  level2Row(2, 1, 6, 4, true, [6, 2]),
  level2Row(0, 1, 5, 4, true, [0, 5]),
  row(
    "varlen",
    { batch: 1, heads: 2, queries: 9, keys: 11, headDim: 4 },
    md.masks.varlen({ cuSeqlensQ, cuSeqlensK }),
    (_b, _h, i, j) => segment(cuSeqlensQ, i) === segment(cuSeqlensK, j),
  ),
  row("causal", { batch: 1, heads: 2, queries: 7, keys: 7, headDim: 5 }, md.masks.causal(), (_b, _h, i, j) => j <= i),
  row(
    "causal, cached keys",
    { batch: 1, heads: 1, queries: 3, keys: 8, headDim: 4 },
    md.masks.causal(),
    (_b, _h, i, j) => j <= i + 5,
  ),
  row("causal, one query", { batch: 1, heads: 2, queries: 1, keys: 9, headDim: 3 }, md.masks.causal(), () => true),
  row(
    "causal, empty rows",
    { batch: 1, heads: 1, queries: 6, keys: 4, headDim: 4 },
    md.masks.causal(),
    (_b, _h, i, j) => j <= i - 2,
  ),
  ...[
    [5, 6],
    [2, 1, 5, 6],
    [2, 3, 5, 1],
    [2, 3, 1, 6],
  ].map((shape): OpCase => {
    const queries = shape.at(-2)!;
    const sizes = { batch: 2, heads: 3, queries, keys: 6, headDim: 4 };
    const full = [2, 3, queries, 6];
    const size = shape.reduce((total, extent) => total * extent, 1);
    const bits = Array.from({ length: size }, (_, i) => (i % 6 < 5 && (i * i + i) % 7 > 2 ? 1 : 0));
    const allows: Allows = (...index) => {
      let at = 0;
      shape.forEach(
        (extent, axis) => (at = at * extent + (extent === 1 ? 0 : index[axis + full.length - shape.length]!)),
      );
      return bits[at] === 1;
    };
    const base = row(`dense [${shape}]`, sizes, undefined, allows);
    return {
      ...base,
      inputs: [...base.inputs, { shape, dtype: "bool", values: bits }],
      run: (q, k, v, mask) => md.maskedAttention(q, k, v, { mask: md.masks.dense(mask!) }),
    };
  }),
];
