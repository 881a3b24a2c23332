import { assign, autocast, Generator, memory, noGrad, scope, type Tensor } from "@md/tensor";
import { afterAll, describe, expect, it, vi } from "vitest";
import {
  createSampler,
  MiniDiffuserLight,
  objectives,
  runSampler,
  type Solver,
  SolverError,
  solvers,
  solversFor,
} from "../src/index.js";
import { syntheticBatch } from "./synthetic-batch.js";

const small = { embedDim: 24, numHeads: 2, numLayers: 2, samples: 32, poseQueries: 2, instructionDim: 6 };

describe.each(objectives)("a policy trained on %s", (predictionType) => {
  const policy = new MiniDiffuserLight({ ...small, predictionType }, { generator: new Generator(1) });
  afterAll(() => policy.dispose());
  const observation = syntheticBatch(2, { points: 20 });

  it("names its solvers, and refuses all others with what fits", () => {
    expect(policy.solvers).toEqual(solversFor(predictionType));
    const others = solvers.filter((solver) => !policy.solvers.includes(solver));
    expect(others.length).toBeGreaterThan(0);
    const draw = (solver: Solver): unknown => policy.sample(observation, { solver, generator: new Generator(2) });
    for (const solver of others) {
      expect(() => draw(solver)).toThrow(SolverError);
      expect(() => draw(solver)).toThrow(`solver is "${solver}", which does not fit a policy trained on`);
      expect(() => draw(solver)).toThrow(
        `"${predictionType}", expected "${policy.solvers[0]}", "${policy.solvers[1]}"`,
      );
    }
    expect(() => draw("dpm" as Solver)).toThrow(SolverError);
  });

  it("samples in mixed precision", () => {
    const draw = (): ReturnType<typeof policy.sample> => policy.sample(observation, { generator: new Generator(2) });
    const [low, full] = [autocast("bf16", draw), draw()];
    const off = Math.hypot(...low.position.map((value, i) => value - full.position[i]!));
    expect(off).toBeLessThan(0.5 * Math.hypot(...full.position));
    expect([...low.position]).not.toEqual([...full.position]);
  });

  it.each(solversFor(predictionType))("samples by %s, with the scene encoded once", (solver) => {
    const [encode, predict] = [vi.spyOn(policy, "encode"), vi.spyOn(policy, "predict")];
    const { liveTensors } = memory();
    const draw = (): ReturnType<typeof policy.sample> =>
      policy.sample(observation, { solver, steps: 4, generator: new Generator(2), returnTrajectory: true });
    const sample = draw();
    expect(encode).toHaveBeenCalledTimes(1);
    const evaluations = solver === "heun" ? 7 : 4;
    expect(predict).toHaveBeenCalledTimes(evaluations);
    vi.restoreAllMocks();
    expect(memory().liveTensors).toBe(liveTensors);
    expect(sample.trajectory).toHaveLength((evaluations + 1) * sample.position.length);
    expect(sample.trajectory!.every(Number.isFinite)).toBe(true);
    expect(draw()).toEqual(sample);
  });

  it("takes its first solver and ten steps by default", () => {
    const draw = (options: object): Float32Array =>
      policy.sample(observation, { generator: new Generator(2), ...options }).position;
    expect(draw({})).toEqual(draw({ solver: policy.solvers[0], steps: 10 }));
    expect(draw({})).not.toEqual(draw({ solver: policy.solvers[1], steps: 10 }));
  });
});

describe("solvers of one objective", () => {
  const process = { predictionType: "sample", numTrainTimesteps: 100, betaSchedule: "squaredcos_cap_v2" } as const;
  const run = (solver: Solver): number[] =>
    scope(() => {
      const sampler = createSampler("test", process, { solver, steps: 10 });
      // A network that always answers 0.25.
      const clean = (x: Tensor): Tensor => x.mul(0).add(0.25);
      return runSampler(sampler, [5], clean, { generator: new Generator(1) }).toFlatArray();
    });

  it.each(solversFor("sample"))("%s ends at the sample that the network predicts", (solver) => {
    for (const x of run(solver)) expect(x).toBeCloseTo(0.25, 1);
  });

  it("frees what it remembers where the network fails", () => {
    const { liveTensors } = memory();
    const sampler = createSampler("test", process, { solver: "dpmsolver++3", steps: 10 });
    let calls = 0;
    const predict = (x: Tensor): Tensor => {
      if (++calls === 4) throw new Error("no more");
      return x.mul(0.5);
    };
    const run = (): Tensor => scope(() => runSampler(sampler, [5], predict, { generator: new Generator(1) }));
    expect(run).toThrow("no more");
    expect(memory().liveTensors).toBe(liveTensors);
  });
});

describe("shifted timesteps", () => {
  const process = { predictionType: "flow_prediction", numTrainTimesteps: 100 } as const;

  it("lie where there is more noise, in even steps without a shift", () => {
    expect(createSampler("test", process, { steps: 4 }).timesteps).toEqual([100, 75, 50, 25]);
    const shifted = createSampler("test", process, { steps: 4, shift: 3 }).timesteps;
    expect(shifted).toEqual([100, expect.closeTo(90, 10), expect.closeTo(75, 10), expect.closeTo(50, 10)]);
  });

  it("do not fit diffusion, nor any number", () => {
    const diffusion = { ...process, predictionType: "epsilon" } as const;
    expect(() => createSampler("test", diffusion, { shift: 3 })).toThrow(SolverError);
    expect(() => createSampler("test", diffusion, { shift: 3 })).toThrow(/\[test\] shift is 3.*"ddim"/);
    expect(() => createSampler("test", process, { shift: 0 })).toThrow(/"shift" is 0/);
  });
});

describe("the number of steps", () => {
  it.each(solvers)("of %s may be all of training's, whatever the spacing, and no other than 1 to that", (solver) => {
    const predictionType = solversFor("epsilon").includes(solver) ? "epsilon" : "flow_prediction";
    const process = { predictionType, numTrainTimesteps: 100, timestepSpacing: "leading" } as const;
    expect(createSampler("test", process, { solver, steps: 100 }).timesteps.length).toBeGreaterThanOrEqual(100);
    for (const steps of [0, 1.5, 101, NaN]) {
      const make = (): unknown => createSampler("test", process, { solver, steps });
      expect(make).toThrow(SolverError);
      expect(make).toThrow(`[test] steps is ${steps}, expected an integer from 1 to 100`);
    }
  });
});

it("a policy trained on flow reaches its targets, by Euler and Heun", () => {
  const policy = new MiniDiffuserLight(
    { ...small, predictionType: "flow_prediction", rotationWeight: 0, openWeight: 0 },
    { generator: new Generator(1) },
  );
  const batch = syntheticBatch(2, { points: 20 });
  const generator = new Generator(2);
  /** Mean distance of 8 candidates a scene from their target, metres. */
  const distance = (solver: Solver, steps: number): number => {
    const { position } = policy.sample(batch, { solver, steps, candidates: 8, generator: new Generator(3) });
    let sum = 0;
    for (let i = 0; i < 16; i++) {
      const target = batch.targetPosition.subarray(3 * Math.floor(i / 8));
      sum += Math.hypot(...[0, 1, 2].map((axis) => position[3 * i + axis]! - target[axis]!)) / 16;
    }
    return sum;
  };
  const untrained = distance("euler", 10);
  for (let step = 0; step < 300; step++) {
    scope(() => {
      policy.loss(batch, generator).loss.backward();
      for (const parameter of policy.parameters()) sgd(parameter, 0.1);
      policy.zeroGrad();
    });
  }
  expect(distance("euler", 10)).toBeLessThan(0.15 * untrained);
  expect(distance("heun", 10)).toBeLessThan(0.15 * untrained);
  policy.dispose();
}, 60_000);

function sgd(parameter: Tensor, rate: number): void {
  if (!parameter.grad) return;
  noGrad(() => scope(() => assign(parameter, parameter.sub(parameter.grad!.mul(rate)))));
}
