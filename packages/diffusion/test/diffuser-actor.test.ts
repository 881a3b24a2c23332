import { afterAll, describe, expect, it } from "vitest";
import {
  assign,
  Generator,
  memory,
  mulberry32,
  noGrad,
  randn,
  scope,
  ShapeError,
  sqrt,
  square,
  tensor,
  type Tensor,
  ValueError,
  zerosLike,
} from "@md/tensor";
import {
  type ActionSample,
  ConfigKeyError,
  DiffuserActor,
  type DiffuserActorConfig,
  getPolicy,
  type PolicyBatch,
  rotation6dOfBins,
  rotation6dOfQuaternions,
  rotation6dToBins,
} from "../src/index.js";
import { syntheticBatch } from "./synthetic-batch.js";

const small = {
  embedDim: 24,
  numHeads: 2,
  crossLayers: 1,
  selfLayers: 1,
  headLayers: 2,
  samples: 5,
  instructionDim: 6,
};
const make = (config: Partial<DiffuserActorConfig> = {}, seed = 1): DiffuserActor =>
  new DiffuserActor({ ...small, ...config }, { generator: new Generator(seed) });
const timesteps = (count: number): Tensor => tensor(Float32Array.from({ length: count }, (_, i) => (7 * i) % 100));
const lossOf = (policy: DiffuserActor, batch: PolicyBatch): number =>
  noGrad(() => scope(() => policy.loss(batch, new Generator(3)).loss.item()));

describe("DiffuserActor", () => {
  const policy = make();
  afterAll(() => policy.dispose());

  it.each([1, 2])("keeps every sample to itself, to the bit, with horizon %i", (horizon) => {
    const other = make({ horizon });
    noGrad(() =>
      scope(() => {
        const scene = other.encode(syntheticBatch(2, { points: 40 }));
        const poses = randn([2, 6, horizon, 9], { generator: new Generator(2) });
        for (const part of [0, 3]) {
          // Position, then rotation, of the last action of sample 3.
          const change = randn([2, 1, 1, 3], { generator: new Generator(8) });
          const delta = new Float32Array(2 * 6 * horizon * 9);
          for (let item = 0; item < 2; item++)
            delta.set(
              change.toFlatArray().slice(3 * item, 3 * item + 3),
              ((item * 6 + 3) * horizon + horizon - 1) * 9 + part,
            );
          const moved = poses.add(tensor(delta, { shape: poses.shape }));
          const [before, after] = [poses, moved].map((x) => other.predict(scene, x, timesteps(12)));
          for (const [name, numbers] of [
            ["prediction", 9],
            ["open", 1],
          ] as const) {
            const changed = after![name].toFlatArray();
            before![name].toFlatArray().forEach((value, i) => {
              const sample = Math.floor(i / (numbers * horizon)) % 6;
              if (sample === 3) expect(changed[i]).not.toBe(value);
              else expect(changed[i]).toBe(value);
            });
          }
        }
      }),
    );
    other.dispose();
  });

  it("denoises in a scene encoded once as in one encoded at every step, which no action changes", () => {
    noGrad(() =>
      scope(() => {
        const batch = syntheticBatch(2, { points: 30, lengths: [3, 1] });
        const scene = policy.encode(batch);
        const read = (): number[] =>
          Object.values(scene.memories).flatMap((layers) =>
            layers.flatMap(({ keyValue, voxelMeans }) => [
              ...keyValue.k.toFlatArray(),
              ...keyValue.v.toFlatArray(),
              ...voxelMeans!.toFlatArray(),
            ]),
          );
        const before = read();
        for (const seed of [1, 2, 3]) {
          const poses = randn([2, 3, 1, 9], { generator: new Generator(seed) });
          const once = policy.predict(scene, poses, timesteps(6));
          const anew = policy.predict(policy.encode(batch), poses, timesteps(6));
          expect(once.prediction.toFlatArray()).toEqual(anew.prediction.toFlatArray());
          expect(once.open.toFlatArray()).toEqual(anew.open.toFlatArray());
        }
        expect(read()).toEqual(before);
        const options = { candidates: 2, steps: 3 };
        const drawn = policy.denoise(scene, { ...options, generator: new Generator(6) });
        expect(drawn).toEqual(policy.sample(batch, { ...options, generator: new Generator(6) }));
      }),
    );
  });

  it("lets scene tokens read each other behind the cross layers alone", () => {
    const batch = syntheticBatch(1, { points: 10 });
    const painted = { ...batch, colors: batch.colors.slice() };
    painted.colors.set([1, 0, 1], 3 * 4);
    // Points whose keys in a layer change with the colour of point 4.
    const changed = (name: "cross" | "self" | "position" | "rotation", layer: number): number[] =>
      noGrad(() =>
        scope(() => {
          const [a, b] = [batch, painted].map((x) =>
            policy.encode(x).memories[name][layer]!.keyValue.k.narrow(1, 0, 1),
          );
          const width = a!.shape[3]!;
          const [before, after] = [a!.toFlatArray(), b!.toFlatArray()];
          const differs = before.map((value, i) => value !== after[i]);
          return Array.from({ length: 10 }, (_, i) => i).filter((i) =>
            differs.slice(i * width, (i + 1) * width).includes(true),
          );
        }),
      );
    const all = Array.from({ length: 10 }, (_, i) => i);
    expect(changed("cross", 0)).toEqual([4]);
    expect(changed("self", 0)).toEqual([4]);
    for (const branch of ["position", "rotation"] as const)
      for (const layer of [0, 1]) expect(changed(branch, layer)).toEqual(all);
  });

  it("gives each item the answer that it has alone, and ignores padding behind an instruction", () => {
    noGrad(() =>
      scope(() => {
        const pair = syntheticBatch(2, { points: 30, lengths: [3, 1] });
        const changed = { ...pair, instruction: pair.instruction.slice() };
        changed.instruction.fill(9, (3 + 1) * 6);
        changed.instruction.fill(5, 0, 3 * 6);
        const poses = randn([2, 2, 1, 9], { generator: new Generator(2) });
        const [a, b] = [pair, changed].map((batch) =>
          policy.predict(policy.encode(batch), poses, timesteps(4)).prediction.toFlatArray(),
        );
        expect(b!.slice(18)).toEqual(a!.slice(18));
        expect(b!.slice(0, 18)).not.toEqual(a!.slice(0, 18));
        const second: PolicyBatch = {
          ...pair,
          size: 1,
          instructionTokens: 1,
          points: pair.points.slice(90),
          colors: pair.colors.slice(90),
          instruction: pair.instruction.slice(18, 24),
          instructionLengths: Int32Array.of(1),
          proprio: pair.proprio.slice(8),
        };
        const alone = policy.predict(policy.encode(second), poses.narrow(0, 1, 1), timesteps(4).narrow(0, 2, 2));
        alone.prediction.toFlatArray().forEach((value, i) => expect(value).toBeCloseTo(a![18 + i]!, 4));
      }),
    );
  });

  it("reads every input of a scene", () => {
    const batch = syntheticBatch(1, { points: 30 });
    const answer = (changed: Partial<PolicyBatch>): number[] =>
      noGrad(() =>
        scope(() => {
          const scene = policy.encode({ ...batch, ...changed });
          return policy.predict(scene, tensor(new Float32Array(9), { shape: [1, 1, 1, 9] }), timesteps(1)).prediction;
        }).toFlatArray(),
      );
    for (const field of ["points", "colors", "instruction", "proprio"] as const)
      expect(answer({ [field]: batch[field].map((value) => 0.5 * value) })).not.toEqual(answer({}));
  });

  it("samples the same bits from the same seed, and a trajectory that ends at the answer", () => {
    const observation = syntheticBatch(2, { points: 30 });
    const draw = (seed: number): ActionSample =>
      policy.sample(observation, { candidates: 3, steps: 4, generator: new Generator(seed), returnTrajectory: true });
    const first = draw(5);
    expect(draw(5)).toEqual(first);
    expect(draw(6).position).not.toEqual(first.position);
    expect(first.position).toHaveLength(2 * 3 * 3);
    expect(first.rotationBins).toHaveLength(2 * 3 * 3);
    expect(first.open).toHaveLength(2 * 3);
    expect(first.trajectory).toHaveLength(5 * first.position.length);
    expect(first.trajectory!.slice(-first.position.length)).toEqual(first.position);
    expect(first.rotationBins.every((bin) => bin >= 0 && bin < 72)).toBe(true);
    expect(first.quaternion).toHaveLength(2 * 3 * 4);
    const exact = rotation6dOfQuaternions(first.quaternion!);
    const binned = rotation6dOfBins(first.rotationBins);
    expect(rotation6dToBins(exact)).toEqual(first.rotationBins);
    for (let at = 0; at < 6; at++) {
      const off = degreesBetween(exact.subarray(6 * at, 6 * at + 6), binned.subarray(6 * at, 6 * at + 6));
      expect(off).toBeGreaterThan(0);
      expect(off).toBeLessThan(5.6);
    }
    expect(first.open.every((share) => share > 0 && share < 1)).toBe(true);
  });

  it.each(["sample", "v_prediction", "flow_prediction"] as const)("learns and draws by %s", (predictionType) => {
    const other = make({ predictionType });
    const batch = syntheticBatch(1, { points: 10 });
    expect(lossOf(other, batch)).toBeGreaterThan(0);
    for (const solver of other.solvers) {
      const { position } = other.sample(batch, { solver, steps: 3, generator: new Generator(1) });
      expect(position.every(Number.isFinite)).toBe(true);
    }
    other.dispose();
  });

  it("comes back from its configuration as JSON and its state dict, to the bit", () => {
    const observation = syntheticBatch(1, { points: 20 });
    const json = JSON.stringify(policy.config);
    const other = getPolicy("diffuser-actor").fromConfig(
      JSON.parse(json) as Record<string, unknown>,
      new Generator(99),
    );
    const draw = (from: { sample: DiffuserActor["sample"] }): ActionSample =>
      from.sample(observation, { steps: 3, generator: new Generator(5) });
    expect(draw(other)).not.toEqual(draw(policy));
    other.loadStateDict(policy.stateDict());
    expect(draw(other)).toEqual(draw(policy));
    expect(JSON.stringify(other.config)).toBe(json);
    other.dispose();
  });

  it("takes bounds and instructions from the data", () => {
    const positionBounds = { min: [0, 1, 2], max: [1, 3, 5] };
    const { create, defaults } = getPolicy("diffuser-actor");
    expect(Object.keys(defaults)).not.toContain("positionBounds");
    const made = create({ ...small, samples: 3 }, { positionBounds, instructionDim: 7 }, new Generator(1));
    expect(made.config).toMatchObject({ positionBounds, instructionDim: 7, samples: 3, numTrainTimesteps: 100 });
    made.dispose();
  });

  it("leaves out what Table 3 leaves out", () => {
    const batch = syntheticBatch(1, { points: 30 });
    const local = [...policy.stateDict().keys()].filter((name) => name.includes(".local."));
    expect(local).toHaveLength(1 + 1 + 2 + 2);
    const without = make({ localVoxelSize: 0 });
    expect([...without.stateDict().keys()]).toEqual([...policy.stateDict().keys()].filter((k) => !local.includes(k)));
    expect(lossOf(without, batch)).toBeGreaterThan(0);
    const unrotated = make({ ropeScale: 0 });
    expect(lossOf(unrotated, batch)).not.toBe(lossOf(policy, batch));
    for (const other of [without, unrotated]) other.dispose();
  });

  it("counts fewer operations with less to do", () => {
    const full = { size: 2, pointsPerScene: 100, instructionTokens: 5 };
    const flops = policy.stepFlops(full);
    expect(policy.stepFlops({ ...full, size: 4 })).toBe(2 * flops);
    expect(policy.stepFlops({ ...full, pointsPerScene: 50 })).toBeLessThan(flops);
    for (const changed of [{ samples: 4 }, { localVoxelSize: 0 }, { selfLayers: 0 }, { headLayers: 1 }]) {
      const other = make(changed);
      expect(other.stepFlops(full)).toBeLessThan(flops);
      other.dispose();
    }
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

  it("names what is wrong with a batch or a configuration", () => {
    const generator = new Generator(1);
    expect(() => make({ mlpRatio: 0.001 })).toThrow(/"mlpRatio" is 0.001, which makes 0 hidden channels of 24/);
    expect(() => make({ embedDim: 25 })).toThrow(/"embedDim" is 25, expected a multiple of numHeads = 2/);
    expect(() => make({ headLayers: 0 })).toThrow(ConfigKeyError);
    expect(() => make({ headLayer: 2 } as object)).toThrow(/headLayer.*headLayers/);
    const batch = syntheticBatch(2, { points: 30 });
    const loss = (changed: Partial<PolicyBatch>) => (): unknown => policy.loss({ ...batch, ...changed }, generator);
    expect(loss(syntheticBatch(2, { points: 30, horizon: 3 }))).toThrow(/"horizon" is 1, expected 3/);
    expect(loss({ targetQuaternion: new Float32Array(7) })).toThrow(ShapeError);
    expect(loss({ targetQuaternion: new Float32Array(7) })).toThrow(/\[DiffuserActor\] targetQuaternion has 7 numbers/);
    expect(loss({ targetQuaternion: new Float32Array(8) })).toThrow(ValueError);
    expect(loss({ targetRotationBins: Int32Array.of(0, 0, 0, 0, 72, 0) })).toThrow(
      /targetRotationBins has 72 at item 4/,
    );
    expect(loss({ instructionDim: 7 })).toThrow(/\[DiffuserActor\] instructionDim is 7, expected 6/);
    expect(() => policy.sample(batch, { generator, candidates: 0 })).toThrow(/\[DiffuserActor\] candidates is 0/);
    expect(() => policy.sample(batch, { generator, solver: "euler" })).toThrow(/solver is "euler"/);
  });
});

describe("the rotation that DiffuserActor learns", () => {
  const policy = make();
  afterAll(() => policy.dispose());
  const turn = Float32Array.of(0, 0, Math.SQRT1_2, Math.SQRT1_2);
  const batch = { ...syntheticBatch(1, { points: 20 }), targetRotationBins: Int32Array.of(36, 36, 54) };

  it("is that of the quaternion, or else that of the bins' centres", () => {
    expect(lossOf(policy, { ...batch, targetQuaternion: turn })).toBeCloseTo(lossOf(policy, batch), 4);
    const other = Float32Array.of(0, 0, 0, 1);
    expect(lossOf(policy, { ...batch, targetQuaternion: other })).not.toBeCloseTo(lossOf(policy, batch), 2);
  });

  it("is the same for q and -q", () => {
    const opposite = { ...batch, targetQuaternion: turn.map((value) => -value) };
    expect(lossOf(policy, opposite)).toBe(lossOf(policy, { ...batch, targetQuaternion: turn }));
  });
});

describe("training DiffuserActor", () => {
  it("reaches every parameter", () => {
    const policy = make({ positionBounds: { min: [-0.3, -0.3, -0.3], max: [0.3, 0.3, 0.3] } });
    scope(() => {
      // Modulation starts as the identity, through which no gradient flows to what makes it.
      noGrad(() =>
        policy.parameters().forEach((p, i) => {
          assign(p, p.add(randn(p.shape, { generator: new Generator(i) }).mul(0.05)));
        }),
      );
      policy.loss(syntheticBatch(2, { points: 30 }), new Generator(1)).loss.backward();
      for (const [name, parameter] of policy.namedParameters())
        expect(
          parameter.grad?.toFlatArray().some((value) => Math.abs(value) > 1e-6),
          name,
        ).toBe(true);
    });
    policy.dispose();
  });

  it("learns two poses of one scene that only the instruction tells apart, within 5 cm and 10°", () => {
    const positionBounds = { min: [-0.5, -0.5, -0.5], max: [0.5, 0.5, 0.5] };
    const policy = make({ headLayers: 1, samples: 32, positionBounds });
    const random = mulberry32(1);
    const twice = (length: number): Float32Array => {
      const values = Array.from({ length }, () => random() - 0.5);
      return Float32Array.from([...values, ...values]);
    };
    const batch: PolicyBatch = {
      ...syntheticBatch(2, { points: 16, lengths: [1, 1] }),
      points: twice(16 * 3),
      colors: twice(16 * 3).map((value) => value + 0.5),
      instruction: Float32Array.of(1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0),
      proprio: Float32Array.of(0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1),
      targetPosition: Float32Array.of(0.3, -0.2, 0.1, -0.3, 0.2, -0.4),
      targetQuaternion: Float32Array.of(0.1, -0.5, 0.3, 0.8, 0.6, 0.5, -0.6, 0.2),
      targetOpen: Float32Array.of(1, 0),
    };
    const losses = train(policy, batch, 400);
    const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
    expect(mean(losses.slice(-20))).toBeLessThan(0.2 * mean(losses.slice(0, 20)));
    const { position, quaternion, open } = policy.sample(batch, { candidates: 8, generator: new Generator(7) });
    const wanted = rotation6dOfQuaternions(batch.targetQuaternion!);
    const found = rotation6dOfQuaternions(quaternion!);
    const errors = Array.from({ length: 16 }, (_, at) => {
      const item = Math.floor(at / 8);
      const target = batch.targetPosition.subarray(3 * item, 3 * item + 3);
      return {
        metres: Math.hypot(...target.map((value, axis) => value - position[3 * at + axis]!)),
        degrees: degreesBetween(wanted.subarray(6 * item, 6 * item + 6), found.subarray(6 * at, 6 * at + 6)),
        opening: Math.abs(batch.targetOpen[item]! - open[at]!),
      };
    });
    for (const candidates of [errors.slice(0, 8), errors.slice(8)]) {
      const median = (of: keyof (typeof errors)[number]): number =>
        candidates.map((error) => error[of]).sort((x, y) => x - y)[4]!;
      expect(median("metres")).toBeLessThan(0.05);
      expect(median("degrees")).toBeLessThan(10);
      expect(median("opening")).toBeLessThan(0.05);
    }
    policy.dispose();
  });
});

/** Adam with a rate that falls to 0; returns the losses. */
function train(policy: DiffuserActor, batch: PolicyBatch, steps: number): number[] {
  const generator = new Generator(2);
  const parameters = [...policy.parameters()];
  const moments = parameters.map((p) => [zerosLike(p), zerosLike(p)] as const);
  const losses = Array.from({ length: steps }, (_, step) =>
    scope(() => {
      const { loss } = policy.loss(batch, generator);
      loss.backward();
      const [first, second] = [1 - 0.9 ** (step + 1), 1 - 0.98 ** (step + 1)];
      const rate = 0.01 * Math.min(1, 2 * (1 - step / steps));
      noGrad(() =>
        parameters.forEach((p, i) => {
          const [mean, variance] = moments[i]!;
          assign(mean, mean.mul(0.9).add(p.grad!.mul(0.1)));
          assign(variance, variance.mul(0.98).add(square(p.grad!).mul(0.02)));
          assign(
            p,
            p.sub(
              mean
                .div(first)
                .div(sqrt(variance.div(second)).add(1e-8))
                .mul(rate),
            ),
          );
        }),
      );
      policy.zeroGrad();
      return loss.item();
    }),
  );
  moments.flat().forEach((moment) => moment.dispose());
  return losses;
}

// The angle of a turn from its trace, whose third column is the cross product of the others.
function degreesBetween(a: Float32Array, b: Float32Array): number {
  const cross = (c: Float32Array): number[] =>
    [0, 1, 2].map((k) => c[(k + 1) % 3]! * c[3 + ((k + 2) % 3)]! - c[(k + 2) % 3]! * c[3 + ((k + 1) % 3)]!);
  const [all, others] = [a, b].map((c) => [...c, ...cross(c)]);
  const trace = all!.reduce((sum, value, i) => sum + value * others![i]!, 0);
  return (Math.acos(Math.max(-1, Math.min(1, (trace - 1) / 2))) * 180) / Math.PI;
}
