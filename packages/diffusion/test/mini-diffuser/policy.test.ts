import { cat, compareNumbers, Generator, memory, noGrad, randn, scope, tensor, type Tensor } from "@md/tensor";
import { afterAll, describe, expect, it, vi } from "vitest";
import {
  createSampler,
  objectives,
  runSampler,
  type Solver,
  SolverError,
  solvers,
  solversFor,
} from "../../src/index.js";
import { descend, makePolicy, randomItem, scenesOf, small, smallest, surfaceBatch, timestepsOf } from "./small.js";

const quietly = (body: () => void): void => noGrad(() => scope(body));
const every = (count: number): Tensor => timestepsOf(Array.from({ length: count }, (_, i) => (7 * i) % 100));

describe("MiniDiffuser", () => {
  const policy = makePolicy().eval();
  afterAll(() => policy.dispose());
  const batch = surfaceBatch(2, { lengths: [3, 1] });

  it("keeps every sample to itself, to the bit, in training too", () => {
    for (const training of [false, true]) {
      policy.train(training);
      quietly(() => {
        const scene = policy.encode(batch);
        const read = (): number[][] =>
          scene.encoded.memories.flatMap(({ keys, level }) =>
            [keys.k, keys.v, level.features].map((x) => x.toFlatArray()),
          );
        const before = read();
        const positions = randn([2, 6, 3], { generator: new Generator(2) });
        const moved = cat([positions.narrow(1, 0, 3), positions.narrow(1, 3, 1).mul(-1), positions.narrow(1, 4, 2)], 1);
        const first = policy.predict(scene, positions, every(12)).toFlatArray();
        const second = policy.predict(scene, moved, every(12)).toFlatArray();
        first.forEach((value, i) => {
          if (Math.floor(i / 3) % 6 === 3) expect(second[i]).not.toBe(value);
          else expect(second[i]).toBe(value);
        });
        expect(read()).toEqual(before);
      });
    }
    policy.eval();
  });

  it("changes a sample with its own timestep alone", () => {
    quietly(() => {
      const scene = policy.encode(batch);
      const positions = randn([2, 3, 3], { generator: new Generator(2) });
      const [a, b] = [
        [5, 10, 15, 20, 25, 30],
        [5, 10, 15, 20, 90, 30],
      ].map((steps) => policy.predict(scene, positions, timestepsOf(steps)).toFlatArray());
      a!.forEach((value, i) => {
        if (Math.floor(i / 3) === 4) expect(b![i]).not.toBe(value);
        else expect(b![i]).toBe(value);
      });
    });
  });

  it("gives the samples of an item that item's instruction, and ignores padding behind it", () => {
    quietly(() => {
      const changed = { ...batch, instruction: batch.instruction.slice() };
      changed.instruction.fill(9, (3 + 1) * 6);
      changed.instruction.fill(5, 0, 3 * 6);
      const positions = randn([2, 3, 3], { generator: new Generator(2) });
      const [a, b] = [batch, changed].map((each) =>
        policy.predict(policy.encode(each), positions, every(6)).toFlatArray(),
      );
      expect(b!.slice(9)).toEqual(a!.slice(9));
      a!.slice(0, 9).forEach((value, i) => expect(b![i]).not.toBe(value));
    });
  });

  it("deals instructions sample by sample where compat says so, as the released code does", () => {
    quietly(() => {
      const [fixed, released] = (["fixed", "released"] as const).map((compat) =>
        makePolicy({ ...small, compat }).eval(),
      );
      const scenes = scenesOf([randomItem(40, 2, 1), randomItem(40, 2, 5)], "f32");
      const positions = randn([2, 3, 3], { generator: new Generator(2) });
      const encoded = fixed!.network.encode(scenes);
      released!.network.loadStateDict(fixed!.network.stateDict());
      const straight = fixed!.network.predict(encoded, positions, every(6)).reshape([2, 3, 3]);
      const dealt = released!.network.predict(encoded, positions, every(6)).reshape([2, 3, 3]);
      // Rows 0 … 5 get the context of items 0 1 0 1 0 1.
      const rights = [0, 2, 4, 1, 3, 5].map((_, row) => row % 2 === Math.floor(row / 3));
      const [a, b] = [straight.toFlatArray(), dealt.toFlatArray()];
      rights.forEach((right, row) => {
        const [x, y] = [a, b].map((values) => values.slice(3 * row, 3 * row + 3));
        if (right) expect(y).toEqual(x);
        else expect(y).not.toEqual(x);
      });
      [fixed, released].forEach((each) => each!.dispose());
    });
  });

  it("predicts for an item alone what it does for the item in a batch", () => {
    quietly(() => {
      const items = [randomItem(50, 3, 10), randomItem(70, 1, 20)];
      const positions = randn([2, 3, 3], { generator: new Generator(2) });
      const predict = (rows: readonly number[]): number[][] => {
        const encoded = policy.network.encode(
          scenesOf(
            rows.map((row) => items[row]!),
            "f32",
          ),
        );
        const places = cat(
          rows.map((row) => positions.narrow(0, row, 1)),
          0,
        );
        const noise = policy.network.predict(encoded, places, timestepsOf(rows.flatMap(() => [5, 50, 95])));
        const { rotation, open } = policy.network.pose(encoded, places);
        return [noise, rotation, open].map((x) => x.reshape([rows.length, -1]).toFlatArray());
      };
      const both = predict([0, 1]);
      [0, 1].forEach((row) => {
        predict([row]).forEach((alone, part) => {
          const inBatch = both[part]!.slice(row * alone.length, (row + 1) * alone.length);
          compareNumbers(`item ${row}, part ${part}`, inBatch, alone, 1e-6);
        });
      });
    });
  });

  it("samples the same bits from the same seed, and a trajectory from noise to the answer", () => {
    const draw = (seed: number, candidates = 3): ReturnType<typeof policy.sample> =>
      policy.sample(batch, { candidates, steps: 4, generator: new Generator(seed), returnTrajectory: true });
    const first = draw(5);
    expect(draw(5)).toEqual(first);
    expect(draw(6).position).not.toEqual(first.position);
    expect(first).toMatchObject({ size: 2, candidates: 3, horizon: 1 });
    expect(first.position).toHaveLength(2 * 3 * 3);
    expect(first.rotationBins).toHaveLength(2 * 3 * 3);
    expect(first.open).toHaveLength(2 * 3);
    expect(first.trajectory).toHaveLength(5 * first.position.length);
    expect(first.trajectory!.slice(-first.position.length)).toEqual(first.position);
    expect(policy.sample(batch, { generator: new Generator(5), steps: 4 })).not.toHaveProperty("trajectory");
    expect(first.rotationBins.every((bin) => bin >= 0 && bin < 72)).toBe(true);
    expect(first.open.every((chance) => chance > 0 && chance < 1)).toBe(true);
    // The noise that it starts from, in the bounds of the data.
    const noise = noGrad(() => scope(() => randn([2, 3, 3], { generator: new Generator(5) }).toFlatArray()));
    const { min, max } = small.positionBounds;
    noise.forEach((x, i) => {
      const [low, high] = [min[i % 3]!, max[i % 3]!];
      expect(first.trajectory![i]).toBeCloseTo((x * (high - low) + high + low) / 2, 5);
    });
  });

  it("clips to the bounds of the data, so that answers lie within them", () => {
    const { position } = policy.sample(batch, { candidates: 20, steps: 5, generator: new Generator(3) });
    const { min, max } = small.positionBounds;
    position.forEach((x, i) => {
      expect(x).toBeGreaterThan(min[i % 3]! - 1e-5);
      expect(x).toBeLessThan(max[i % 3]! + 1e-5);
    });
  });

  it("draws with the scene encoded once what it draws with the scene encoded at every step", () => {
    const options = { solver: "ddpm", steps: 6 } as const;
    const cached = policy.sample(batch, { ...options, candidates: 2, generator: new Generator(5) });
    quietly(() => {
      const process = {
        predictionType: "epsilon",
        numTrainTimesteps: 100,
        betaSchedule: "squaredcos_cap_v2",
        timestepSpacing: "trailing",
      } as const;
      const anew = (x: Tensor, timestep: number): Tensor =>
        policy.predict(policy.encode(batch), x, tensor(new Float32Array(4).fill(timestep)));
      const x = runSampler(createSampler("test", process, options), [2, 2, 3], anew, { generator: new Generator(5) });
      const { min, max } = small.positionBounds;
      const world = x
        .toFlatArray()
        .map((value, i) => (value * (max[i % 3]! - min[i % 3]!) + max[i % 3]! + min[i % 3]!) / 2);
      world.forEach((value, i) => expect(cached.position[i]).toBeCloseTo(value, 6));
    });
  });

  it("learns nothing from evaluation, and batch statistics from training alone", () => {
    const statistics = (): number[] => [...policy.namedBuffers().values()].flatMap((buffer) => buffer.toFlatArray());
    const before = statistics();
    policy.sample(batch, { steps: 2, generator: new Generator(1) });
    scope(() => policy.loss(batch, new Generator(1)));
    expect(statistics()).toEqual(before);
    policy.train();
    scope(() => policy.loss(batch, new Generator(1)));
    policy.eval();
    expect(statistics()).not.toEqual(before);
  });

  it("leaves no tensor behind", () => {
    const generator = new Generator(3);
    const step = (): void =>
      scope(() => {
        policy.loss(batch, generator).loss.backward();
        policy.zeroGrad();
        policy.sample(batch, { generator, steps: 2, returnTrajectory: true });
      });
    step();
    const { liveTensors, liveBytes } = memory();
    step();
    expect(memory()).toMatchObject({ liveTensors, liveBytes });
  });

  it("counts the operations of a step: in proportion to scenes, almost none for more samples", () => {
    const one = policy.stepFlops({ size: 1, pointsPerScene: 1000, instructionTokens: 10 });
    expect(policy.stepFlops({ size: 4, pointsPerScene: 1000, instructionTokens: 10 })).toBeCloseTo(4 * one, 0);
    const more = makePolicy({ ...small, samples: 30 });
    const ratio = more.stepFlops({ size: 1, pointsPerScene: 1000, instructionTokens: 10 }) / one;
    expect(ratio).toBeGreaterThan(1);
    expect(ratio).toBeLessThan(1.5);
    more.dispose();
  });
});

describe.each(objectives)("a policy trained on %s", (predictionType) => {
  const policy = makePolicy({ ...smallest, predictionType }).eval();
  afterAll(() => policy.dispose());
  const batch = surfaceBatch(2, { points: 30 });

  it.each(solversFor(predictionType))("samples by %s, with the scene encoded once", (solver) => {
    const [encode, predict] = [vi.spyOn(policy.network, "encode"), vi.spyOn(policy.network, "predict")];
    const sample = policy.sample(batch, { solver, steps: 4, generator: new Generator(2), returnTrajectory: true });
    const evaluations = solver === "heun" ? 7 : 4;
    expect(encode).toHaveBeenCalledTimes(1);
    expect(predict).toHaveBeenCalledTimes(evaluations);
    vi.restoreAllMocks();
    expect(sample.position.every(Number.isFinite)).toBe(true);
    expect(sample.trajectory).toHaveLength((evaluations + 1) * sample.position.length);
  });

  it("refuses solvers that do not fit", () => {
    const others = solvers.filter((solver) => !policy.solvers.includes(solver));
    expect(others.length).toBeGreaterThan(0);
    for (const solver of [...others, "dpm" as Solver]) {
      const draw = (): unknown => policy.sample(batch, { solver, generator: new Generator(2) });
      expect(draw).toThrow(SolverError);
      expect(draw).toThrow(
        `[MiniDiffuser] solver is "${solver}", which does not fit a policy trained on "${predictionType}"`,
      );
    }
  });
});

it.each(["none", "fixed", "released"] as const)(
  "learns a batch and comes near its targets with compat %s",
  (compat) => {
    const policy = makePolicy({ ...smallest, compat, samples: 32, predictionType: "sample", positionLoss: "l2" });
    const generator = new Generator(2);
    const batch = surfaceBatch(2, { points: 40 });
    const parts: Record<string, number>[] = [];
    for (let i = 0; i < 60; i++) {
      scope(() => {
        const { loss, parts: each } = policy.loss(batch, generator);
        loss.backward();
        parts.push(Object.fromEntries(Object.entries(each).map(([name, x]) => [name, x.item()])));
        descend(policy.parameters(), 0.01);
        policy.zeroGrad();
      });
    }
    const average = (name: string, from: number): number =>
      parts.slice(from, from + 10).reduce((sum, each) => sum + each[name]! / 10, 0);
    for (const name of ["noise", "rotation", "open"]) {
      const [first, last] = [average(name, 0), average(name, 50)];
      expect(last, `${name} from ${first}`).toBeLessThan(0.8 * first);
    }
    policy.dispose();
  },
);
