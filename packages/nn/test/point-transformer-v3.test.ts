import {
  assign,
  type Curve,
  curves,
  gelu,
  Generator,
  memory,
  mseLoss,
  noGrad,
  scope,
  ShapeError,
  tensor,
  type Tensor,
  ValueError,
} from "@md/tensor";
import { describe, expect, it } from "vitest";
import {
  BatchNorm1d,
  type Context,
  ContextBlock,
  GridPool,
  GridUnpool,
  type LevelFeatures,
  type Module,
  PointBlock,
  type PointCloud,
  PointTransformerV3,
  type PointTransformerV3Options,
  SubMConv3d,
} from "../src/index.js";
import { random } from "./parameter-gradients.js";
import { cloudOf, f64, loaded, makeScene, near, sameBits, shuffled } from "./point-scenes.js";

const sizes = {
  inChannels: 3,
  encChannels: [6, 8, 12],
  encNumHeads: [1, 2, 3],
  encDepths: [2, 1, 3],
  decChannels: [8, 10],
  decNumHeads: [2, 1],
  decDepths: [1, 2],
  strides: [2, 4],
  patchSize: 5,
  mlpRatio: 1,
} as const;
const contextDim = 5;

type Changes = Partial<PointTransformerV3Options>;
const build = (changes: Changes = {}, seed = 3): PointTransformerV3 =>
  new PointTransformerV3({ ...sizes, generator: new Generator(seed), ...f64, ...changes });
const make = (changes?: Changes): PointTransformerV3 => shuffled(build(changes), 0.4);

const cloud = cloudOf(makeScene([40, 9, 21], 12));
const x = random([cloud.size, 3], 8);
const context: Context = { tokens: random([6, contextDim], 5), offsets: Int32Array.from([0, 4, 4, 6]) };
const finest = (levels: readonly LevelFeatures[]): Tensor => levels.at(-1)!.features;

/** The same network from its parts, with their share of its state dict. */
function composed(whole: PointTransformerV3, changes: Changes, orders: readonly Curve[] = curves): LevelFeatures[] {
  const options = { ...sizes, ...changes, generator: new Generator(9), ...f64 };
  const { encChannels, decChannels, strides } = options;
  const state = whole.stateDict();
  const part = <M extends Module>(name: string, module: M): M => {
    loaded(module, state, name).train(whole.training);
    return module;
  };

  function stage(
    name: string,
    level: PointCloud,
    dim: number,
    heads: number,
    depth: number,
    input: Tensor,
    first = input,
  ): Tensor {
    let features = input;
    for (let i = 0; i < depth; i++) {
      const block = part(`${name}.blocks.${i}`, new PointBlock(dim, heads, options));
      features = block.forward(level, features, orders[i % orders.length]!, i === 0 ? first : features);
      if (options.contextDim === undefined) continue;
      const words = part(`${name}.context_blocks.${i}`, new ContextBlock(dim, heads, contextDim, options));
      features = words.forward(features, level.offsets, context);
    }
    return features;
  }

  const stem = part("stem", new SubMConv3d(3, encChannels[0]!, 5, { ...options, bias: false }));
  const stemNorm = part("stem_norm", new BatchNorm1d(encChannels[0]!, { ...f64, eps: 1e-3, momentum: 0.01 }));
  let features = gelu(stemNorm.forward(stem.forward(cloud.neighbourMap(5), x)));
  const levels = [cloud];
  const skips: Tensor[] = [];
  encChannels.forEach((dim, i) => {
    if (i > 0) {
      levels.push(levels[i - 1]!.pool(strides[i - 1]!));
      features = part(`pools.${i - 1}`, new GridPool(encChannels[i - 1]!, dim, options)).forward(levels[i]!, features);
    }
    features = stage(`encoder.${i}`, levels[i]!, dim, sizes.encNumHeads[i]!, sizes.encDepths[i]!, features);
    skips.push(features);
  });
  const outputs = [{ cloud: levels.at(-1)!, features }];
  for (let i = decChannels.length - 1; i >= 0; i--) {
    const below = decChannels[i + 1] ?? encChannels.at(-1)!;
    const unpool = part(`unpools.${i}`, new GridUnpool(below, encChannels[i]!, decChannels[i]!, options));
    const { sum, skip } = unpool.forward(levels[i + 1]!, features, skips[i]!);
    const convolved = options.convolveSkip ? skip : sum;
    features = stage(
      `decoder.${i}`,
      levels[i]!,
      decChannels[i]!,
      sizes.decNumHeads[i]!,
      sizes.decDepths[i]!,
      sum,
      convolved,
    );
    outputs.push({ cloud: levels[i]!, features });
  }
  return outputs;
}

describe("PointTransformerV3", () => {
  const variants: Changes[] = [
    {},
    { strides: [4, 2] },
    { contextDim },
    { contextDim, convolveSkip: true, orders: ["hilbert", "z-trans"] },
    { convolveSkip: true, patchRule: "batch", orders: ["z"] },
  ];
  for (const training of [true, false]) {
    it.each(variants)(`is the U-Net of its parts, training ${training}, %j`, (changes) => {
      const network = make(changes).train(training);
      const words = changes.contextDim === undefined ? undefined : context;
      const expected = composed(network, changes, changes.orders);
      const outputs = network.forward(cloud, x, words);
      expect(outputs.map(({ features }) => features.shape[1])).toEqual([12, 10, 8]);
      outputs.forEach(({ cloud: level, features }, i) => {
        expect(level).toBe(expected[i]!.cloud);
        near(features, expected[i]!.features);
      });
      expect(finest(outputs).shape).toEqual([cloud.size, 8]);
    });
  }

  it("differs where the first block of a decoder stage convolves the skip branch alone", () => {
    const run = (convolveSkip: boolean): LevelFeatures[] => make({ convolveSkip }).eval().forward(cloud, x);
    const [sums, skips] = [run(false), run(true)];
    sameBits(sums[0]!.features, skips[0]!.features);
    for (const i of [1, 2]) expect(sums[i]!.features.toFlatArray()).not.toEqual(skips[i]!.features.toFlatArray());
  });

  it("gives an item the same alone and in a batch, in evaluation, to the bit", () => {
    for (const dtype of ["f32", "f64"] as const) {
      const network = build({ contextDim, dtype }).eval();
      const cast = (words: Context): Context => ({ ...words, tokens: words.tokens.to(dtype) });
      const batch = network.forward(cloud, x.to(dtype), cast(context));
      cloud.counts.forEach((count, item) => {
        const begin = cloud.offsets[item]!;
        const [first, last] = [context.offsets[item]!, context.offsets[item + 1]!];
        const grid = Int32Array.from(cloud.grid.toFlatArray().slice(3 * begin, 3 * (begin + count)));
        const alone = cloudOf({
          grid,
          counts: [count],
          coordinates: cloud.coordinates.narrow(0, begin, count).contiguous(),
        });
        const words = {
          tokens: context.tokens.narrow(0, first, last - first),
          offsets: Int32Array.from([0, last - first]),
        };
        const outputs = network.forward(alone, x.to(dtype).narrow(0, begin, count), cast(words));
        outputs.forEach(({ features }, i) => {
          const { cloud: level, features: whole } = batch[i]!;
          const rows = whole.narrow(0, level.offsets[item]!, level.counts[item]!).contiguous();
          sameBits(features.contiguous(), rows);
        });
      });
    }
  });

  it("deals the curves anew in training, the same for the same seed, and never in evaluation", () => {
    const changes = { shuffleOrders: true };
    const run = (network: PointTransformerV3): number[] => finest(network.forward(cloud, x)).toFlatArray();
    const pair = (seed: number): number[][] => {
      const network = shuffled(build(changes, seed), 0.4);
      return [run(network), run(network), run(network)];
    };
    const first = pair(3);
    expect(new Set(first.map(String)).size).toBeGreaterThan(1);
    expect(pair(3)).toEqual(first);
    expect(pair(4)).not.toEqual(first);
    const plain = run(make().eval());
    expect(run(make(changes).eval())).toEqual(plain);
    expect(run(make(changes).eval())).toEqual(plain);
    const still = make();
    expect(run(still)).toEqual(run(still));
  });

  it("drops branches in training alone", () => {
    const network = make({ dropPath: 0.5 });
    const run = (): number[] => finest(network.forward(cloud, x)).toFlatArray();
    expect(run()).not.toEqual(run());
    const fresh = make({ dropPath: 0.5 }).eval();
    expect(finest(fresh.forward(cloud, x)).toFlatArray()).toEqual(
      finest(make().eval().forward(cloud, x)).toFlatArray(),
    );
  });

  it("comes back from its state dict", () => {
    const [network, other] = [make({ contextDim }), build({ contextDim }, 8)];
    network.forward(cloud, x, context);
    other.loadStateDict(network.stateDict());
    const outputs = network.eval().forward(cloud, x, context);
    other
      .eval()
      .forward(cloud, x, context)
      .forEach(({ features }, i) => sameBits(features, outputs[i]!.features));
    const names = [...network.stateDict().keys()];
    for (const name of [
      "stem.weight",
      "stem_norm.running_var",
      "encoder.2.blocks.2.attn.qkv.weight",
      "encoder.2.context_blocks.2.attn.kv.weight",
      "pools.1.norm.running_mean",
      "decoder.1.blocks.1.cpe.conv.weight",
      "unpools.0.skip_norm.num_batches_tracked",
    ])
      expect(names).toContain(name);
    expect([...build().stateDict().keys()].some((name) => name.includes("context"))).toBe(false);
    expect(names).not.toContain("stem.bias");
  });

  it("starts the same from the same seed", () => {
    const values = (seed: number): number[][] =>
      build({}, seed)
        .parameters()
        .map((each) => each.toFlatArray());
    expect(values(3)).toEqual(values(3));
    expect(values(4)).not.toEqual(values(3));
  });

  it("takes a single stage, and stages without blocks", () => {
    const one = {
      encChannels: [6],
      encNumHeads: [1],
      encDepths: [1],
      decChannels: [],
      decNumHeads: [],
      decDepths: [],
      strides: [],
    };
    const outputs = make(one).forward(cloud, x);
    expect(outputs.map(({ features }) => features.shape)).toEqual([[cloud.size, 6]]);
    expect(outputs[0]!.cloud).toBe(cloud);
    const empty = make({ encDepths: [1, 0, 1], decDepths: [0, 0] });
    expect(finest(empty.forward(cloud, x)).shape).toEqual([cloud.size, 8]);
    const { encChannels, encNumHeads, decChannels, decNumHeads, inChannels } = sizes;
    const defaults = new PointTransformerV3({
      generator: new Generator(1),
      inChannels,
      encChannels,
      encNumHeads,
      decChannels,
      decNumHeads,
    });
    expect(
      defaults
        .eval()
        .forward(cloud, x.to("f32"))
        .map(({ cloud: level }) => level.depth),
    ).toEqual([14, 15, 16]);
  });

  it("overfits in 20 steps on a cloud made once, and frees what each step makes", () => {
    const network = build({ contextDim, dtype: "f32", shuffleOrders: true });
    const scene = cloudOf(makeScene([40, 9, 21], 12));
    const [input, target] = [x.to("f32"), random([scene.size, 8], 31).to("f32")];
    const words = { ...context, tokens: context.tokens.to("f32") };
    const [losses, live]: number[][] = [[], []];
    for (let step = 0; step < 20; step++) {
      scope(() => {
        const loss = mseLoss(finest(network.forward(scene, input, words)), target);
        network.zeroGrad();
        loss.backward();
        noGrad(() => network.parameters().forEach((each) => each.grad && assign(each, each.sub(each.grad.mul(0.1)))));
        losses!.push(loss.item());
      });
      live!.push(memory().liveTensors);
    }
    expect(losses![0]).toBeGreaterThan(0.8);
    expect(losses!.at(-1)).toBeLessThan(0.35 * losses![0]!);
    expect(live!.slice(1)).toEqual(new Array<number>(19).fill(live![1]!));
  });
});

describe("PointTransformerV3 refuses", () => {
  const refused: [Changes, string][] = [
    [{ encNumHeads: [1, 2] }, "encNumHeads has 2 entries, expected 3"],
    [{ encDepths: [1, 2, 3, 4] }, "encDepths has 4 entries, expected 3"],
    [{ decChannels: [8] }, "decChannels has 1 entries, expected 2"],
    [{ decNumHeads: [] }, "decNumHeads has 0 entries, expected 2"],
    [{ decDepths: [1] }, "decDepths has 1 entries, expected 2"],
    [{ strides: [2, 2, 2] }, "strides has 3 entries, expected 2"],
    [{ encChannels: [] }, "encChannels is empty, expected at least one stage"],
    [{ orders: [] }, "orders is empty, expected at least one curve"],
    [{ encDepths: [1, -1, 1] }, "encDepths is [1,-1,1], expected integers of at least 0"],
    [{ decDepths: [1, 1.5] }, "decDepths is [1,1.5], expected integers of at least 0"],
    [{ strides: [2, 3] }, "strides is [2,3], expected powers of two from 2"],
    [{ strides: [1, 2] }, "strides is [1,2], expected powers of two from 2"],
    [{ orders: ["z", "peano" as Curve] }, "orders is [z,peano], expected curves among z,z-trans,hilbert,hilbert-trans"],
  ];
  it.each(refused)("%j", (changes, message) => {
    expect(() => build(changes)).toThrow(ValueError);
    expect(() => build(changes)).toThrow(`[PointTransformerV3] ${message}`);
  });

  it("heads that do not divide, and a drop path of 1", () => {
    expect(() => build({ encNumHeads: [1, 3, 3] })).toThrow("[PatchAttention] 8 channels do not divide into 3 heads");
    expect(() => build({ dropPath: 1 })).toThrow(ValueError);
  });

  it("context where there is none to attend, none where there is, and that of other items", () => {
    const absent = (): unknown => make({ contextDim }).forward(cloud, x);
    expect(absent).toThrow(ValueError);
    expect(absent).toThrow("[PointTransformerV3] context is absent, expected context tokens with contextDim");
    const given = (): unknown => make().forward(cloud, x, context);
    expect(given).toThrow(ValueError);
    expect(given).toThrow("[PointTransformerV3] context is given, expected none without contextDim");
    const fewer = { tokens: context.tokens, offsets: Int32Array.from([0, 4, 6]) };
    expect(() => make({ contextDim }).forward(cloud, x, fewer)).toThrow(/context has 2 items, expected 3/);
  });

  it("rows and channels that do not fit", () => {
    for (const shape of [
      [cloud.size - 1, 3],
      [cloud.size, 4],
    ])
      expect(() => make().forward(cloud, random(shape))).toThrow(ShapeError);
    expect(() => make().forward(cloud, tensor([[1, 2, 3]], f64))).toThrow(ShapeError);
  });
});
