import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cat, Generator, memory, randn, type Tensor, tensor, zeros } from "@md/tensor";
import { afterAll, describe, expect, it } from "vitest";
import {
  ClipError,
  ClipResNet,
  ClipTextModel,
  loadClipResNet,
  loadClipTextModel,
  type Module,
  writeSafetensors,
  writeTorchCheckpoint,
} from "../../src/index.js";

const folder = mkdtempSync(join(tmpdir(), "clip-load-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
type StateDict = Map<string, Tensor>;
const save = (name: string, tensors: StateDict): string => {
  const file = join(folder, name);
  if (name.endsWith(".safetensors")) writeSafetensors(file, tensors);
  else writeTorchCheckpoint(file, tensors);
  return file;
};
const changed = (dict: StateDict, changes: Record<string, Tensor | null>): StateDict => {
  const copy = new Map(dict);
  for (const [name, value] of Object.entries(changes))
    if (value) copy.set(name, value);
    else copy.delete(name);
  return copy;
};

const generator = new Generator(1);
/** Every weight and statistic random. */
function shuffle<M extends Module>(module: M): M {
  const shuffled = [...module.stateDict()].map(([name, x]): [string, Tensor] => [
    name,
    x.dtype === "f32" ? randn(x.shape, { generator }).mul(0.1).add(0.2) : x,
  ]);
  module.loadStateDict(new Map(shuffled));
  return module.eval() as M;
}

describe("loadClipTextModel", () => {
  const sizes = { vocabularySize: 20, contextLength: 7, width: 128, layers: 2, embedDim: 3 };
  const model = shuffle(new ClipTextModel({ ...sizes, generator }));
  const own = model.stateDict();
  const ids = tensor(Int32Array.from([1, 5, 9, 19]), { shape: [1, 4] });
  const features = model.forward(ids).toFlatArray();

  /** The same weights as HuggingFace's CLIPModel names them. */
  function huggingFace(): StateDict {
    const dict: StateDict = new Map();
    const set = (name: string, value: Tensor): void => void dict.set(`text_model.${name}`, value);
    set(
      "embeddings.position_ids",
      tensor(
        BigInt64Array.from({ length: 7 }, (_, i) => BigInt(i)),
        { shape: [1, 7] },
      ),
    );
    set("embeddings.token_embedding.weight", own.get("token_embedding.weight")!);
    set("embeddings.position_embedding.weight", own.get("positional_embedding")!);
    set("final_layer_norm.weight", own.get("ln_final.weight")!);
    set("final_layer_norm.bias", own.get("ln_final.bias")!);
    for (let i = 0; i < 2; i++) {
      const theirs = `encoder.layers.${i}`;
      for (const kind of ["weight", "bias"]) {
        const from = (name: string): Tensor => own.get(`transformer.resblocks.${i}.${name}`)!;
        ["q", "k", "v"].forEach((part, j) => {
          const rows = from(`attn.in_proj_${kind}`).narrow(0, 128 * j, 128);
          set(`${theirs}.self_attn.${part}_proj.${kind}`, rows.contiguous());
        });
        set(`${theirs}.self_attn.out_proj.${kind}`, from(`attn.out_proj.${kind}`));
        set(`${theirs}.layer_norm1.${kind}`, from(`ln_1.${kind}`));
        set(`${theirs}.layer_norm2.${kind}`, from(`ln_2.${kind}`));
        set(`${theirs}.mlp.fc1.${kind}`, from(`mlp.c_fc.${kind}`));
        set(`${theirs}.mlp.fc2.${kind}`, from(`mlp.c_proj.${kind}`));
      }
    }
    dict.set("text_projection.weight", own.get("text_projection")!.transpose().contiguous());
    // Of the image model, which is left out.
    dict.set("vision_model.embeddings.class_embedding", zeros([4]));
    dict.set("visual_projection.weight", zeros([3, 4]));
    dict.set("logit_scale", zeros([]));
    return dict;
  }

  it("reads each published form, with and without the image model", () => {
    const whole = changed(own, {
      "visual.transformer.resblocks.0.ln_1.weight": zeros([4]),
      "visual.positional_embedding": zeros([5, 4]),
      "transformer.resblocks.0.attn_mask": zeros([7, 7]),
      logit_scale: zeros([]),
      input_resolution: tensor(224),
    });
    for (const file of [
      save("own.safetensors", own),
      save("openai.pt", whole),
      save("openai.safetensors", whole),
      save("hf.safetensors", huggingFace()),
      save("hf.bin", huggingFace()),
    ]) {
      using loaded = loadClipTextModel(file);
      expect(loaded.training).toBe(false);
      expect([loaded.vocabularySize, loaded.contextLength, loaded.width]).toEqual([20, 7, 128]);
      for (const [name, value] of own)
        expect(loaded.stateDict().get(name)!.toFlatArray(), `${file} ${name}`).toEqual(value.toFlatArray());
      expect(loaded.forward(ids).toFlatArray()).toEqual(features);
    }
  });

  it("reads a model without projection", () => {
    using loaded = loadClipTextModel(save("bare.bin", changed(huggingFace(), { "text_projection.weight": null })));
    expect(loaded.textProjection).toBeNull();
    expect(loaded.forward(ids).toFlatArray()).toEqual(features);
  });

  it("names file and tensors where the weights do not fit, and leaves nothing behind", () => {
    const block = "transformer.resblocks.1";
    const hf = huggingFace();
    for (const [name, dict, problem] of [
      ["none", new Map([["x", zeros([2])]]), /has no tensor token_embedding\.weight/],
      ["lacks", changed(own, { [`${block}.ln_1.weight`]: null }), /missing transformer\.resblocks\.1\.ln_1\.weight/],
      [
        "shape",
        changed(own, { [`${block}.mlp.c_fc.bias`]: zeros([5]) }),
        /c_fc\.bias is f32 \[5\], expected f32 \[512\]/,
      ],
      ["gap", changed(own, { "transformer.resblocks.7.ln_1.weight": zeros([128]) }), /expected at least|missing/],
      ["width", changed(own, { "token_embedding.weight": zeros([20, 100]) }), /width 100, expected a multiple of 64/],
      [
        "huge",
        changed(own, { "token_embedding.weight": zeros([1, 64 * 8192]) }),
        /expected at least \d+ by their shapes/,
      ],
      ["rank", changed(own, { positional_embedding: zeros([7]) }), /positional_embedding has shape \[7\]/],
      [
        "blocks",
        new Map([...own].filter(([key]) => !key.startsWith("transformer."))),
        /no tensors transformer\.resblocks/,
      ],
      [
        "part",
        changed(hf, { "text_model.encoder.layers.0.self_attn.k_proj.bias": null }),
        /lacks a part of transformer\.resblocks\.0\.attn\.in_proj_bias/,
      ],
      ["odd", changed(hf, { "text_model.encoder.odd": zeros([2]) }), /unknown tensor text_model\.encoder\.odd/],
    ] as const) {
      const file = save(`${name}.safetensors`, dict as StateDict);
      const { liveTensors } = memory();
      expect(() => loadClipTextModel(file), name).toThrow(ClipError);
      expect(() => loadClipTextModel(file), name).toThrow(problem);
      expect(() => loadClipTextModel(file), name).toThrow(file);
      expect(memory().liveTensors, name).toBe(liveTensors);
    }
    expect(() => loadClipTextModel(join(folder, "weights.npz"))).toThrow(/no weight file by its name/);
    expect(() => loadClipTextModel(join(folder, "absent.pt"))).toThrow(/absent\.pt/);
  });
});

describe("loadClipResNet", () => {
  const sizes = { layers: [1, 2, 1, 1], width: 2, heads: 1, embedDim: 5, resolution: 32 } as const;
  const model = shuffle(new ClipResNet({ ...sizes, generator }));
  const own = model.stateDict();
  const images = randn([1, 3, 32, 32], { generator });
  const vector = model.forward(images).toFlatArray();

  it("reads the image model out of the whole, or alone", () => {
    const whole = new Map([...own].map(([name, value]) => [`visual.${name}`, value]));
    const counters = Object.fromEntries(
      [...whole.keys()].filter((name) => /num_batches/.test(name)).map((k) => [k, null]),
    );
    for (const file of [
      save("image.safetensors", own),
      save("RN50.pt", changed(whole, { "token_embedding.weight": zeros([3, 4]), ...counters })),
    ]) {
      using loaded = loadClipResNet(file);
      expect([loaded.training, loaded.mapChannels]).toEqual([false, [2, 8, 16, 32, 64]]);
      expect(loaded.forward(images).toFlatArray()).toEqual(vector);
    }
  });

  it("names file and tensors where the weights do not fit", () => {
    for (const [name, dict, problem] of [
      ["vit", new Map([["visual.conv1.weight", zeros([8, 3, 4, 4])]]), /no tensor layer1\.0\.conv1\.weight/],
      ["lacks", changed(own, { "layer2.1.bn1.running_mean": null }), /missing layer2\.1\.bn1\.running_mean/],
      [
        "huge",
        changed(own, { "layer1.0.conv1.weight": zeros([4096, 1, 1, 1]) }),
        /expected at least \d+ by their shapes/,
      ],
      [
        "joint",
        changed(own, { "layer1.0.bn1.weight": cat([zeros([2]), zeros([1])]) }),
        /is f32 \[3\], expected f32 \[2\]/,
      ],
    ] as const) {
      const file = save(`resnet-${name}.safetensors`, dict as StateDict);
      expect(() => loadClipResNet(file), name).toThrow(ClipError);
      expect(() => loadClipResNet(file), name).toThrow(problem);
    }
  });
});
