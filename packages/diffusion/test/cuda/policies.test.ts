import { autocast, CudaGraph, cudaInfo, type Device, Generator, scope, Tensor } from "@md/tensor";
import { describe, expect, it, vi } from "vitest";
import {
  type ActionSample,
  DiffuserActor,
  type MiniDiffuserConfig,
  MiniDiffuserLight,
  type Policy,
  type PolicyBatch,
  type SampleOptions,
} from "../../src/index.js";
import { makePolicy, small, surfaceBatch } from "../mini-diffuser/small.js";
import { syntheticBatch } from "../synthetic-batch.js";

const device: Device = "cuda:0";
const sizes = { embedDim: 12, numHeads: 2, samples: 2, instructionDim: 6 };

interface PolicyCase {
  name: string;
  make(): Policy;
  batch: PolicyBatch;
  /** Tensors of the device that the host reads in a forward and backward pass, and so waits for. */
  reads: number;
  sampling: Omit<SampleOptions, "generator">;
}

const tiny = {
  ...{ encChannels: [8, 12], encNumHeads: [2, 2], encDepths: [1, 1] },
  ...{ decChannels: [12], decNumHeads: [2], decDepths: [1] },
  ...{ patchSize: 8, contextDim: 8, samples: 2 },
};
const mini = (config: Partial<MiniDiffuserConfig>) => (): Policy => makePolicy({ ...small, ...tiny, ...config });
const surface = surfaceBatch(2, { points: 12, lengths: [2, 0] });

// Together they take every branch that makes a tensor. Each of the two levels of a MiniDiffuser reads the items of its rows.
const cases: PolicyCase[] = [
  {
    name: "MiniDiffuser",
    make: mini({ useProprio: true, maxSteps: 3, shuffleOrders: true, checkpointBackbone: true, dropPath: 0.2 }),
    batch: { ...surface, stepIds: Int32Array.of(2, 0) },
    reads: 2,
    sampling: { solver: "sde-dpmsolver++", steps: 2, candidates: 2, returnTrajectory: true },
  },
  {
    name: "MiniDiffuser by flow",
    make: mini({ predictionType: "flow_prediction" }),
    batch: surfaceBatch(2, { points: 12, lengths: [0, 0] }),
    reads: 2,
    sampling: { solver: "heun", steps: 2 },
  },
  {
    name: "MiniDiffuser as released",
    make: mini({ compat: "released" }),
    batch: surface,
    reads: 2,
    sampling: { steps: 1 },
  },
  {
    name: "MiniDiffuserLight",
    make: () =>
      new MiniDiffuserLight({ ...sizes, numLayers: 2, horizon: 2, poseQueries: 1 }, { generator: new Generator(1) }),
    batch: syntheticBatch(2, { points: 9, horizon: 2, lengths: [3, 1] }),
    reads: 0,
    sampling: { solver: "ddpm", steps: 2, candidates: 2, returnTrajectory: true },
  },
  {
    name: "DiffuserActor",
    make: () =>
      new DiffuserActor(
        { ...sizes, crossLayers: 1, selfLayers: 1, headLayers: 1, horizon: 2, predictionType: "v_prediction" },
        { generator: new Generator(1) },
      ),
    batch: syntheticBatch(2, { points: 9, horizon: 2, lengths: [3, 1] }),
    reads: 0,
    sampling: { steps: 2, candidates: 2, returnTrajectory: true },
  },
];

/** Numbers by name, and where they were. */
type Results = Map<string, { where: Device; numbers: number[] }>;

/** Tensors that were read while `body` ran, of those that lie on the device. */
function countReads(body: () => void): number {
  const spy = vi.spyOn(Tensor.prototype, "data");
  body();
  const read = (spy.mock.contexts as Tensor[]).filter(({ device }) => device !== "cpu");
  spy.mockRestore();
  return read.length;
}

/** Loss, its parts, gradients and buffers of a training step on `where`. */
function trainingStep(policy: Policy, { batch, reads }: PolicyCase, where: Device, precision: "f32" | "bf16"): Results {
  const results: Results = new Map();
  scope(() => {
    let step!: ReturnType<Policy["loss"]>;
    const read = countReads(() => {
      step = autocast(precision, () => policy.loss(batch, new Generator(3)));
      step.loss.backward();
    });
    expect(read).toBe(where === "cpu" ? 0 : reads);
    const { loss, parts } = step;
    for (const [name, value] of Object.entries({ loss, ...parts }))
      results.set(name, { where: value.device, numbers: value.toFlatArray() });
    for (const [name, { grad }] of policy.namedParameters())
      if (grad) results.set(`gradient of ${name}`, { where: grad.device, numbers: grad.toFlatArray() });
    for (const [name, buffer] of policy.namedBuffers())
      results.set(name, { where: buffer.device, numbers: buffer.toFlatArray() });
  });
  return results;
}

/** A training step, then an action, all on `where`. */
function stepAndSample(policyCase: PolicyCase, where: Device): Results {
  const { make, batch, sampling } = policyCase;
  const policy = make().to(where);
  const results = trainingStep(policy, policyCase, where, "f32");
  const action = policy.eval().sample(batch, { ...sampling, generator: new Generator(4) });
  for (const field of ["position", "rotationBins", "quaternion", "open", "trajectory"] satisfies (keyof ActionSample)[])
    if (action[field]) results.set(`sampled ${field}`, { where, numbers: Array.from(action[field]) });
  policy.dispose();
  return results;
}

const norm = (numbers: readonly number[]): number => Math.sqrt(numbers.reduce((sum, x) => sum + x * x, 0));

describe.skipIf(cudaInfo().devices.length === 0)("policies on cuda", () => {
  it.each(cases)(
    "$name has the CPU's losses, gradients and actions",
    (policyCase) => {
      const expected = stepAndSample(policyCase, "cpu");
      const found = stepAndSample(policyCase, device);
      expect([...found.keys()]).toEqual([...expected.keys()]);
      const gradients = [...expected].flatMap(([name, { numbers }]) => (name.startsWith("gradient") ? numbers : []));
      // Some gradients are 0 but for rounding: a bias before a norm, or one that a softmax takes away.
      const rounding = 1e-7 * norm(gradients);
      for (const [name, { where, numbers }] of found) {
        const wanted = expected.get(name)!.numbers;
        expect(where, name).toBe(device);
        expect(numbers, name).toHaveLength(wanted.length);
        const off = norm(numbers.map((value, i) => value - wanted[i]!));
        expect(off, name).toBeLessThanOrEqual(1e-5 * norm(wanted) + (name.startsWith("gradient") ? rounding : 1e-7));
      }
    },
    240_000,
  );

  // Against the CPU in f32: at most twice as far as the CPU in bf16 is, and an epsilon.
  it.each(cases.slice(0, 1))(
    "$name has the CPU's losses and gradients under autocast, as far as bf16 goes",
    (policyCase) => {
      const step = (where: Device, precision: "f32" | "bf16"): Results => {
        const policy = policyCase.make().to(where);
        const results = trainingStep(policy, policyCase, where, precision);
        policy.dispose();
        return results;
      };
      const [exact, here, there] = [step("cpu", "f32"), step("cpu", "bf16"), step(device, "bf16")];
      expect([...there.keys()]).toEqual([...exact.keys()]);
      expect([...there.keys()].filter((name) => name.startsWith("gradient")).length).toBeGreaterThan(50);
      const whole = norm([...exact].flatMap(([name, { numbers }]) => (name.startsWith("gradient") ? numbers : [])));
      for (const [name, { where, numbers }] of there) {
        const wanted = exact.get(name)!.numbers;
        const off = (found: readonly number[]): number => norm(found.map((value, i) => value - wanted[i]!));
        expect(where, name).toBe(device);
        const rounding = name.startsWith("gradient") ? 1e-4 * whole : 1e-7;
        expect(off(numbers), name).toBeLessThanOrEqual(
          2 * off(here.get(name)!.numbers) + 2 ** -7 * norm(wanted) + rounding,
        );
      }
    },
    240_000,
  );

  it.each(cases)(
    "$name samples by a graph to the bits of the loop without one",
    ({ make, batch, sampling }) => {
      const policy = make().to(device).eval();
      const replay = vi.spyOn(CudaGraph.prototype, "replay");
      const sample = (): ActionSample => policy.sample(batch, { ...sampling, steps: 3, generator: new Generator(4) });
      const byGraph = sample();
      const evaluations = sampling.solver === "heun" ? 5 : 3;
      expect(replay).toHaveBeenCalledTimes(evaluations - 1);
      process.env.MD_CUDA_GRAPHS = "off";
      const byItself = sample();
      delete process.env.MD_CUDA_GRAPHS;
      expect(replay).toHaveBeenCalledTimes(evaluations - 1);
      replay.mockRestore();
      expect(byGraph).toEqual(byItself);
      policy.dispose();
    },
    240_000,
  );
});
