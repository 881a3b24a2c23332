import { Generator, noGrad, scope, ShapeError, tensor, type Tensor, TensorError, ValueError, zeros } from "@md/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { ConfigKeyError, type PolicyBatch, type SceneTensors } from "../../src/index.js";
import {
  descend,
  type Item,
  makePolicy,
  randomItem,
  scenesOf,
  small,
  smallest,
  surfaceBatch,
  timestepsOf,
} from "./small.js";

const policy = makePolicy(small);
afterAll(() => policy.dispose());
const good = surfaceBatch(2, { points: 20 });
const generator = new Generator(2);

/** Encodes, predicts and learns; all numbers that come of it. */
function numbersOf(batch: PolicyBatch): number[] {
  const own = makePolicy(small);
  const numbers: number[] = [];
  scope(() => {
    const { loss, parts } = own.loss(batch, new Generator(2));
    loss.backward();
    numbers.push(loss.item(), ...Object.values(parts).map((part) => part.item()));
    for (const p of own.parameters()) numbers.push(...(p.grad?.toFlatArray() ?? []));
    descend(own.parameters(), 1e-3);
  });
  const { position, open } = own.eval().sample(batch, { candidates: 2, steps: 3, generator: new Generator(2) });
  numbers.push(...position, ...open);
  for (const buffer of own.namedBuffers().values()) numbers.push(...buffer.toFlatArray());
  own.dispose();
  return numbers;
}

describe("a scene", () => {
  it.each<[what: string, batch: PolicyBatch]>([
    ["of fewer points than a patch", surfaceBatch(2, { points: 5 })],
    ["of one point", surfaceBatch(2, { points: 1 })],
    ["with all points in one voxel", { ...good, points: good.points.map((x) => 0.01 * x) }],
    ["with all points in one place", { ...good, points: good.points.map(() => 0.25) }],
    [
      "with every point twice",
      { ...good, points: good.points.map((_, i, all) => all[i - (Math.floor(i / 3) % 2) * 3]!) },
    ],
    ["without instruction tokens, beside one with", surfaceBatch(2, { points: 20, lengths: [0, 2] })],
  ])("%s gives finite numbers", (_, batch) => {
    const numbers = numbersOf(batch);
    expect(numbers.length).toBeGreaterThan(1000);
    expect(numbers.every(Number.isFinite)).toBe(true);
  });

  it("of one point, alone in its batch, can be acted in but not learned from: it has no batch statistics", () => {
    const lone = surfaceBatch(1, { points: 1 });
    expect(() => policy.loss(lone, generator)).toThrow(ShapeError);
    expect(() => policy.loss(lone, generator)).toThrow(/\[batchNorm\] x has shape \[1,12\], expected at least 2/);
    const { position } = policy.eval().sample(lone, { candidates: 2, steps: 2, generator });
    policy.train();
    expect(position.every(Number.isFinite)).toBe(true);
  });

  it("with points twice acts as the scene with them once", () => {
    const once = randomItem(30, 2, 1);
    const twice: Item = {
      ...once,
      points: once.points.flatMap((p) => [p, p]),
      features: once.features.flatMap((f) => [f, f]),
    };
    noGrad(() =>
      scope(() => {
        const [a, b] = [once, twice].map((item) => {
          const encoded = policy.eval().network.encode(scenesOf([item], "f32"));
          return policy.network.predict(encoded, tensor([[[0.1, 0.2, 0]]]), timestepsOf([30])).toFlatArray();
        });
        a!.forEach((value, i) => expect(b![i]).toBeCloseTo(value, 5));
      }),
    );
    policy.train();
  });

  it("wider than the grid is refused by the point that is too far", () => {
    // 65536 cells of 0.1 m.
    for (const [far, fits] of [
      [6553, true],
      [6554, false],
      [-6554, false],
      // Beyond 32 bits, where integers would wrap around into the grid.
      [2 ** 32 * 0.1, false],
      [3e38, false],
    ] as const) {
      const points = new Float32Array(good.points.length);
      points[3 * 7 + 1] = far;
      const encode = (): unknown => scope(() => policy.encode({ ...good, points }) && null);
      if (fits) expect(encode).not.toThrow();
      else {
        expect(encode).toThrow(ValueError);
        expect(encode).toThrow(
          far < 0 ? /\[MiniDiffuser\] point 0 has y/ : /\[MiniDiffuser\] point 7 has y = .*65536 cells/,
        );
      }
    }
  });

  it("is refused with a small voxelSize that makes it too wide, not misplaced", () => {
    const fine = makePolicy({ ...smallest, voxelSize: 1e-12 });
    expect(() => fine.encode(good)).toThrow(/\[MiniDiffuser\] point \d+ has .*cells of voxelSize/);
    fine.dispose();
  });

  it("with numbers that are none is refused by name", () => {
    for (const field of ["points", "colors", "instruction", "proprio", "targetPosition", "targetOpen"] as const) {
      for (const wrong of [NaN, Infinity]) {
        const values = good[field].slice();
        values[1] = wrong;
        const changed = { ...good, [field]: values };
        expect(() => policy.loss(changed, generator)).toThrow(ValueError);
        expect(() => policy.loss(changed, generator)).toThrow(`[MiniDiffuser] ${field} has ${wrong} at item 1`);
        if (!field.startsWith("target"))
          expect(() => policy.sample(changed, { generator })).toThrow(`${field} has ${wrong}`);
      }
    }
  });

  it("of sizes that do not fit is refused by name", () => {
    expect(() => policy.encode({ ...good, points: good.points.subarray(3) })).toThrow(ShapeError);
    expect(() => policy.encode({ ...good, instructionDim: 7 })).toThrow(
      /\[MiniDiffuser\] instructionDim is 7, expected 6/,
    );
    expect(() => policy.loss(surfaceBatch(2, { points: 5, horizon: 2 }), generator)).toThrow(ConfigKeyError);
    const targetRotationBins = good.targetRotationBins.map(() => 72);
    expect(() => policy.loss({ ...good, targetRotationBins }, generator)).toThrow(TensorError);
  });
});

describe("tensors of a scene", () => {
  const scenes = scenesOf([randomItem(10, 2, 1), randomItem(12, 1, 5)], "f32");
  afterAll(() => [scenes.coordinates, scenes.features, scenes.words.tokens].forEach((x) => x.dispose()));
  const encode = (changed: Partial<SceneTensors>): unknown =>
    scope(() => policy.network.encode({ ...scenes, ...changed }) && null);

  it("are refused where they do not fit each other, or are no numbers", () => {
    expect(() => encode({})).not.toThrow();
    const without = (x: Tensor): Tensor => x.narrow(0, 1, x.shape[0]! - 1);
    scope(() => {
      for (const changed of [
        { coordinates: without(scenes.coordinates) },
        { features: without(scenes.features) },
        { counts: [22] },
        { counts: [22, 0] },
        { counts: [10, 11] },
        { words: { tokens: scenes.words.tokens, offsets: Int32Array.of(0, 3) } },
        { words: { tokens: scenes.words.tokens, offsets: Int32Array.of(0, 1, 2, 3) } },
        { words: { tokens: scenes.words.tokens, offsets: Int32Array.of(0, 2, 4) } },
        { words: { tokens: scenes.words.tokens, offsets: Int32Array.of(0, 4, 3) } },
      ])
        expect(() => encode(changed), JSON.stringify(changed)).toThrow(TensorError);
      const values = scenes.coordinates.data() as Float32Array;
      values[4] = NaN;
      expect(() => encode({ coordinates: tensor(values, { shape: [22, 3] }) })).toThrow(/point \d+ has [xyz] = /);
    });
  });
});

it("predicting refuses positions and timesteps that are not those of the scenes", () => {
  noGrad(() =>
    scope(() => {
      const observation = policy.encode(good);
      const predict = (shape: number[], steps: number) => () =>
        policy.predict(observation, zeros(shape), timestepsOf(new Array<number>(steps).fill(3)));
      for (const shape of [
        [1, 2, 3],
        [3, 2, 3],
        [2, 2, 2],
        [4, 3],
      ])
        expect(predict(shape, 4)).toThrow(`[MiniDiffuser] positions has shape [${shape}], expected [2,samples,3]`);
      expect(predict([2, 2, 3], 3)).toThrow("[MiniDiffuser] timesteps has shape [3], expected [4]");
    }),
  );
});

it("sampling refuses candidates and steps that make no sense", () => {
  for (const candidates of [0, -1, 1.5, NaN])
    expect(() => policy.sample(good, { candidates, generator })).toThrow(
      `[MiniDiffuser] candidates is ${candidates}, expected an integer of at least 1`,
    );
  for (const steps of [0, 1.5, 101]) expect(() => policy.sample(good, { steps, generator })).toThrow(ValueError);
});
