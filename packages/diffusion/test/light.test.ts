import { afterAll, describe, expect, it } from "vitest";
import { assign, cat, Generator, memory, noGrad, randn, scope, tensor, type Tensor } from "@md/tensor";
import { ConfigKeyError, MiniDiffuserLight, type PolicyBatch } from "../src/index.js";
import { syntheticBatch } from "./synthetic-batch.js";

const small = { embedDim: 24, numHeads: 2, numLayers: 2, samples: 5, poseQueries: 2, instructionDim: 6 };
const timesteps = (count: number): Tensor =>
  tensor(BigInt64Array.from({ length: count }, (_, i) => BigInt((7 * i) % 100)));

describe("MiniDiffuserLight", () => {
  const policy = new MiniDiffuserLight(small, { generator: new Generator(1) });
  afterAll(() => policy.dispose());

  it("keeps every sample to itself, to the bit", () => {
    noGrad(() =>
      scope(() => {
        const scene = policy.encode(syntheticBatch(2, { points: 40 }));
        const positions = randn([2, 6, 1, 3], { generator: new Generator(2) });
        const moved = cat([positions.narrow(1, 0, 3), positions.narrow(1, 3, 1).mul(-1), positions.narrow(1, 4, 2)], 1);
        const before = policy.predict(scene, positions, timesteps(12)).toFlatArray();
        const after = policy.predict(scene, moved, timesteps(12)).toFlatArray();
        before.forEach((value, i) => {
          const sample = Math.floor(i / 3) % 6;
          if (sample === 3) expect(after[i]).not.toBe(value);
          else expect(after[i]).toBe(value);
        });
      }),
    );
  });

  it("computes condition tokens that no action can change: their gradient from actions is none", () => {
    noGrad(() =>
      scope(() => {
        const batch = syntheticBatch(1, { points: 40 });
        const read = (): number[] => policy.encode(batch).memories.flatMap(({ keyValue }) => keyValue.k.toFlatArray());
        const before = read();
        policy.predict(policy.encode(batch), randn([1, 3, 1, 3], { generator: new Generator(4) }), timesteps(3));
        expect(read()).toEqual(before);
      }),
    );
  });

  it("ignores padding behind an instruction, and other items of the batch", () => {
    noGrad(() =>
      scope(() => {
        const pair = syntheticBatch(2, { points: 30, lengths: [3, 1] });
        const changed: PolicyBatch = { ...pair, instruction: pair.instruction.slice() };
        // The padding of item 1, and the words of item 0.
        changed.instruction.fill(9, (3 + 1) * 6);
        changed.instruction.fill(5, 0, 3 * 6);
        const positions = randn([2, 2, 1, 3], { generator: new Generator(2) });
        const [a, b] = [pair, changed].map((batch) =>
          policy.predict(policy.encode(batch), positions, timesteps(4)).toFlatArray(),
        );
        expect(b!.slice(6)).toEqual(a!.slice(6));
        expect(b!.slice(0, 6)).not.toEqual(a!.slice(0, 6));
      }),
    );
  });

  it("samples the same bits from the same seed, and a trajectory that ends at the answer", () => {
    const observation = syntheticBatch(2, { points: 30 });
    const draw = (): ReturnType<typeof policy.sample> =>
      policy.sample(observation, { candidates: 3, steps: 4, generator: new Generator(5), returnTrajectory: true });
    const first = draw();
    expect(draw()).toEqual(first);
    expect(first.position).toHaveLength(2 * 3 * 3);
    expect(first.trajectory).toHaveLength(5 * first.position.length);
    expect(first.trajectory!.slice(-first.position.length)).toEqual(first.position);
    expect(first.rotationBins.every((bin) => bin >= 0 && bin < 72)).toBe(true);
    const ddpm = policy.sample(observation, { solver: "ddpm", generator: new Generator(5) });
    expect(ddpm.position.every(Number.isFinite)).toBe(true);
  });

  it("leaves no tensor behind", () => {
    const generator = new Generator(3);
    const step = (): void =>
      scope(() => {
        policy.loss(syntheticBatch(2, { points: 30 }), generator).loss.backward();
        policy.zeroGrad();
        policy.sample(syntheticBatch(1, { points: 20 }), { generator, steps: 2 });
      });
    step();
    const { liveTensors, liveBytes } = memory();
    step();
    expect(memory()).toMatchObject({ liveTensors, liveBytes });
  });

  it.each([1, 4])("learns and samples actions of horizon %i", (horizon) => {
    const other = new MiniDiffuserLight({ ...small, samples: 16, horizon }, { generator: new Generator(1) });
    const generator = new Generator(2);
    const batch = syntheticBatch(2, { points: 30, horizon });
    const losses: number[] = [];
    for (let i = 0; i < 120; i++) {
      scope(() => {
        const { loss } = other.loss(batch, generator);
        loss.backward();
        losses.push(loss.item());
        for (const parameter of other.parameters()) sgd(parameter, 0.1);
        other.zeroGrad();
      });
    }
    const mean = (values: number[]): number => values.reduce((total, value) => total + value, 0) / values.length;
    expect(mean(losses.slice(-10))).toBeLessThan(0.8 * mean(losses.slice(0, 10)));
    expect(other.sample(batch, { candidates: 2, steps: 3, generator }).position).toHaveLength(2 * 2 * horizon * 3);
    other.dispose();
  });

  it("names what is wrong with a batch or a configuration", () => {
    const generator = new Generator(1);
    expect(() => new MiniDiffuserLight({ embedDim: 25 }, { generator })).toThrow(
      /"embedDim" is 25, expected a multiple of numHeads/,
    );
    for (const mlpRatio of [0.01, 1e9])
      expect(() => new MiniDiffuserLight({ embedDim: 24, mlpRatio }, { generator })).toThrow(
        /"mlpRatio" is .*, which makes \d+ hidden channels of 24, expected 1 to 16777216/,
      );
    expect(() => new MiniDiffuserLight({ binCells: [Infinity] }, { generator })).toThrow(/"binCells" .* finite/);
    expect(() => new MiniDiffuserLight({ embedDims: 24 } as object, { generator })).toThrow(/embedDims.*embedDim/);
    expect(() => new MiniDiffuserLight({ binCells: [1, 2] }, { generator })).toThrow(ConfigKeyError);
    const batch = syntheticBatch(2, { points: 30 });
    expect(() => policy.loss({ ...batch, targetPosition: batch.targetPosition.subarray(3) }, generator)).toThrow(
      /targetPosition/,
    );
    expect(() => policy.encode({ ...batch, instructionDim: 7 })).toThrow(/expected 6/);
    const points = batch.points.slice();
    points[4] = NaN;
    expect(() => policy.encode({ ...batch, points })).toThrow(/points has NaN at item 4/);
  });
});

function sgd(parameter: Tensor, rate: number): void {
  if (!parameter.grad) return;
  noGrad(() => scope(() => assign(parameter, parameter.sub(parameter.grad!.mul(rate)))));
}
