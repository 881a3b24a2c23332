import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  compareNumbers,
  Generator,
  indexSelect,
  matmul,
  mean,
  softmax,
  type Tensor,
  tensor,
  where,
  zeros,
} from "@md/tensor";
import { describe, expect, it } from "vitest";
import { ClipError, ClipTextModel, ClipTokenizer, encodeTexts, Parameter } from "../../src/index.js";
import { ResidualAttentionBlock } from "../../src/clip/residual-attention-block.js";
import { checkGradients, random } from "../parameter-gradients.js";
import { vocabularySize, writeMerges } from "./vocabulary.js";

const sizes = { vocabularySize, contextLength: 9, width: 12, layers: 2, heads: 3, embedDim: 5 };
const f64 = { dtype: "f64", generator: new Generator(3) } as const;

/** A model whose every parameter is random, norms too. */
function makeModel(): ClipTextModel {
  const model = new ClipTextModel({ ...sizes, ...f64 });
  model.loadStateDict(
    new Map([...model.namedParameters()].map(([name, value], i) => [name, random(value.shape, 40 + i).mul(0.8)])),
  );
  return model.eval();
}

const near = (name: string, actual: Tensor, expected: Tensor): void => {
  expect(actual.shape).toEqual(expected.shape);
  compareNumbers(name, actual.toFlatArray(), expected.toFlatArray(), 1e-10);
};

// The formulas of the paper's code once more, in elementary ops on weights by their published names.
function reference(weights: ReadonlyMap<string, Tensor>, ids: readonly number[]): Tensor {
  const at = (name: string): Tensor => weights.get(name)!;
  const norm = (x: Tensor, name: string): Tensor => {
    const centred = x.sub(mean(x, { dim: -1, keepdim: true }));
    const variance = mean(centred.mul(centred), { dim: -1, keepdim: true });
    return centred
      .div(variance.add(1e-5).sqrt())
      .mul(at(`${name}.weight`))
      .add(at(`${name}.bias`));
  };
  const affine = (x: Tensor, name: string): Tensor => matmul(x, at(`${name}weight`).transpose()).add(at(`${name}bias`));
  const [tokens, { width, heads, layers }] = [ids.length, sizes];
  const dim = width / heads;
  const allowed = tensor(
    Uint8Array.from({ length: tokens * tokens }, (_, i) => Number(i % tokens <= Math.floor(i / tokens))),
    { shape: [tokens, tokens], dtype: "bool" },
  );
  let x = zeros([tokens, width], { dtype: "f64" });
  x = x.add(indexSelect(at("token_embedding.weight"), 0, tensor(Int32Array.from(ids))));
  x = x.add(at("positional_embedding").narrow(0, 0, tokens));
  for (let layer = 0; layer < layers; layer++) {
    const block = `transformer.resblocks.${layer}`;
    const joint = affine(norm(x, `${block}.ln_1`), `${block}.attn.in_proj_`);
    const part = (i: number): Tensor =>
      joint
        .narrow(1, i * width, width)
        .reshape([tokens, heads, dim])
        .permute([1, 0, 2]);
    const scores = matmul(part(0), part(1).transpose()).div(Math.sqrt(dim));
    const shares = softmax(where(allowed, scores, tensor([-1e30], { dtype: "f64" })), -1);
    const merged = matmul(shares, part(2)).permute([1, 0, 2]).reshape([tokens, width]);
    x = x.add(affine(merged, `${block}.attn.out_proj.`));
    const hidden = affine(norm(x, `${block}.ln_2`), `${block}.mlp.c_fc.`);
    const gated = hidden.div(hidden.mul(-1.702).exp().add(1));
    x = x.add(affine(gated, `${block}.mlp.c_proj.`));
  }
  return norm(x, "ln_final");
}

describe("ClipTextModel", () => {
  const rows = [
    [1, 7, 300, 7, 2],
    [1, 40, 2, 0, 0],
  ];
  const ids = tensor(Int32Array.from(rows.flat()), { shape: [2, 5] });

  it("computes the published formulas", () => {
    const model = makeModel();
    const features = model.forward(ids);
    expect(features.shape).toEqual([2, 5, 12]);
    rows.forEach((row, i) => {
      const expected = reference(model.stateDict(), row);
      near(`features of text ${i}`, features.narrow(0, i, 1).reshape([5, 12]), expected);
      const end = row.indexOf(2);
      const pooled = matmul(expected.narrow(0, end, 1), model.textProjection!);
      near(`pooled text ${i}`, model.pool(features, [4, 2]).narrow(0, i, 1), pooled);
    });
  });

  it("keeps a token's features whatever follows it, to the bit", () => {
    const model = makeModel();
    const head = model.forward(ids.narrow(1, 0, 3).contiguous());
    expect(head.toFlatArray()).toEqual(model.forward(ids).narrow(1, 0, 3).toFlatArray());
  });

  it("has the published names, shapes and numbers of parameters", () => {
    // open_clip's docs/model_profile.csv: 63.43 M beside ViT-B/32, 63.69 M beside RN50.
    for (const [embedDim, count] of [
      [512, 63_428_096],
      [1024, 63_690_240],
    ] as const) {
      using model = new ClipTextModel({ embedDim, generator: new Generator(0) });
      expect(model.numParameters).toBe(count);
      const shapes = new Map([...model.stateDict()].map(([name, { shape }]) => [name, shape]));
      expect(shapes.size).toBe(5 + 12 * 12);
      expect(shapes.get("positional_embedding")).toEqual([77, 512]);
      expect(shapes.get("text_projection")).toEqual([512, embedDim]);
      expect(shapes.get("token_embedding.weight")).toEqual([49_408, 512]);
      expect(shapes.get("ln_final.bias")).toEqual([512]);
      for (const [name, shape] of [
        ["attn.in_proj_weight", [1536, 512]],
        ["attn.in_proj_bias", [1536]],
        ["attn.out_proj.weight", [512, 512]],
        ["attn.out_proj.bias", [512]],
        ["ln_1.weight", [512]],
        ["ln_1.bias", [512]],
        ["mlp.c_fc.weight", [2048, 512]],
        ["mlp.c_fc.bias", [2048]],
        ["mlp.c_proj.weight", [512, 2048]],
        ["mlp.c_proj.bias", [512]],
        ["ln_2.weight", [512]],
        ["ln_2.bias", [512]],
      ] as const)
        expect(shapes.get(`transformer.resblocks.11.${name}`), name).toEqual(shape);
      expect(model.transformer.resblocks.at(0).attn.numHeads).toBe(8);
    }
  });

  it("has gradients", () => {
    const model = new ClipTextModel({
      ...sizes,
      vocabularySize: 6,
      contextLength: 3,
      width: 4,
      heads: 2,
      layers: 1,
      ...f64,
    });
    const some = tensor(Int32Array.from([1, 5, 2]), { shape: [1, 3] });
    checkGradients(model.namedParameters(), () => model.pool(model.forward(some), [2]));
    const block = new ResidualAttentionBlock(4, 2, f64);
    const x = new Parameter(random([2, 3, 4], 5));
    checkGradients(new Map([...block.namedParameters(), ["x", x]]), () => block.forward(x));
  });

  it("goes through a state dict", () => {
    const [source, target] = [makeModel(), new ClipTextModel({ ...sizes, ...f64 })];
    target.loadStateDict(source.stateDict());
    expect(target.forward(ids).toFlatArray()).toEqual(source.forward(ids).toFlatArray());
  });

  it("refuses what does not fit", () => {
    const model = makeModel();
    const long = tensor(new Int32Array(10), { shape: [1, 10] });
    expect(() => model.forward(long)).toThrow(/ids have shape \[1,10\], expected \[batch, at most 9\]/);
    expect(() => model.pool(model.forward(ids), [0])).toThrow(
      /features have shape \[2,5,12\], expected \[1, tokens, 12\]/,
    );
    const bare = new ClipTextModel({ ...sizes, embedDim: null, ...f64 });
    expect(() => bare.pool(bare.forward(ids), [0, 0])).toThrow(/no text_projection/);
  });
});

describe("encodeTexts", () => {
  const folder = mkdtempSync(join(tmpdir(), "clip-encode-"));
  const tokenizer = ClipTokenizer.fromFile(writeMerges(join(folder, "merges.txt")));
  rmSync(folder, { recursive: true });
  const model = makeModel();
  const texts = ["open the", "x", "draw the open"];

  it("gives a row a token of the context, whatever the rest of the batch", () => {
    const { ids } = tokenizer.tokenize(texts, { contextLength: 9 });
    const expected = model
      .forward(tensor(ids, { shape: [3, 9] }))
      .to("f32")
      .data() as Float32Array;
    const found = encodeTexts(model, tokenizer, texts);
    found.forEach(({ tokens, data }, i) => {
      expect(tokens).toBe(9);
      expect(data).toEqual(expected.slice(i * 9 * 12, (i + 1) * 9 * 12));
    });
    expect(encodeTexts(model, tokenizer, ["x"])).toEqual([found[1]]);
    expect(encodeTexts(model, tokenizer, [])).toEqual([]);
  });

  it("pads with end tokens, or not at all", () => {
    const zero = encodeTexts(model, tokenizer, texts);
    const end = encodeTexts(model, tokenizer, texts, { padding: "end" });
    const none = encodeTexts(model, tokenizer, texts, { padding: "none" });
    expect(none.map(({ tokens }) => tokens)).toEqual([4, 3, 6]);
    none.forEach(({ tokens, data }, i) => {
      expect(data).toEqual(zero[i]!.data.slice(0, tokens * 12));
      expect(data).toEqual(end[i]!.data.slice(0, tokens * 12));
      expect(end[i]!.data.slice(tokens * 12)).not.toEqual(zero[i]!.data.slice(tokens * 12));
    });
  });

  it("refuses a text that is too long, and another vocabulary", () => {
    expect(() => encodeTexts(model, tokenizer, ["x", "the ".repeat(8)])).toThrow(ClipError);
    expect(encodeTexts(model, tokenizer, ["the ".repeat(8)], { truncate: true })).toHaveLength(1);
    const other = new ClipTextModel({ ...sizes, vocabularySize: 600, ...f64 });
    expect(() => encodeTexts(other, tokenizer, ["x"])).toThrow(
      /\[vocabulary\] has 526 tokens, expected the text model's 600/,
    );
  });
});
