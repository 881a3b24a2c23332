import { Generator, memory, randn, scope, tensor, type Tensor, zeros } from "@md/tensor";
import { describe, expect, it } from "vitest";
import { DPMSolverMultistepScheduler, type DPMSolverMultistepConfig } from "../src/index.js";
import { dpmSolverUpdate, noiseLevel, type NoiseLevel } from "../src/schedulers/dpm-solver-update.js";

// Clean samples are normal with this mean and variance, so the best prediction and the exact solution are known.
const [mean, variance] = [0.3, 0.25];
const spread = ({ signal, deviation }: NoiseLevel): number => Math.sqrt(variance * signal ** 2 + deviation ** 2);
const cleanOf = (x: number, level: NoiseLevel): number =>
  mean + ((variance * level.signal) / spread(level) ** 2) * (x - level.signal * mean);
/** Where the probability flow passes at a level, `z` standard deviations from its mean. */
const exact = (z: number, level: NoiseLevel): number => level.signal * mean + spread(level) * z;
const atLogSnr = (logSnr: number): NoiseLevel => noiseLevel(1 / (1 + Math.exp(-2 * logSnr)));

/** Error after `steps` even steps in λ from -2 to 2, where the predictions of earlier steps are exact. */
function solveError(order: number, steps: number, solverType: "midpoint" | "heun" = "midpoint"): number {
  const levels = Array.from({ length: steps + order }, (_, i) => atLogSnr(-2 + (4 * (i - order + 1)) / steps));
  const originals = levels.slice(0, order - 1).map((level) => cleanOf(exact(1.5, level), level));
  let x = exact(1.5, levels[order - 1]!);
  for (let i = order - 1; i < levels.length - 1; i++) {
    originals.push(cleanOf(x, levels[i]!));
    const from = levels.slice(i - order + 1, i + 1).reverse();
    const update = dpmSolverUpdate(levels[i + 1]!, from, { stochastic: false, solverType });
    expect(update.noise).toBe(0);
    x = update.sample * x + update.originals.reduce((sum, weight, k) => sum + weight * originals[i - k]!, 0);
  }
  return Math.abs(x - exact(1.5, levels.at(-1)!));
}

const rate = (error: (steps: number) => number): number => Math.log2(error(160) / error(320));

describe("dpmSolverUpdate", () => {
  it.each([
    [1, "midpoint", 1],
    [2, "midpoint", 2],
    [2, "heun", 2],
    // The quadratic part's half weight is that of the authors' code.
    [3, "midpoint", 2],
  ] as const)("order %i, %s: the error falls with power %i of the step", (order, solverType, power) => {
    expect(rate((steps) => solveError(order, steps, solverType))).toBeCloseTo(power, 1);
  });

  it("errs less the higher the order", () => {
    const [first, second, third] = [1, 2, 3].map((order) => solveError(order, 40));
    expect(second).toBeLessThan(first! / 10);
    expect(third).toBeLessThan(0.6 * second!);
  });

  it("a step of no length changes nothing, one to no noise gives the clean sample", () => {
    const [a, b, c] = [0.2, 0, -0.1].map(atLogSnr);
    for (const stochastic of [false, true]) {
      const rule = { stochastic, solverType: "heun" } as const;
      const still = dpmSolverUpdate(a!, [a!, b!, c!], rule);
      expect([still.sample, ...still.originals.map(Math.abs), still.noise]).toEqual([1, 0, 0, 0, 0]);
      expect(dpmSolverUpdate(noiseLevel(1), [a!], rule)).toEqual({ sample: 0, originals: [1], noise: 0 });
    }
  });
});

/** What the best network predicts of noise. */
function predictNoise(scheduler: DPMSolverMultistepScheduler, x: Tensor, timestep: number): Tensor {
  const level = noiseLevel(scheduler.alphasCumprod[timestep]!);
  const weight = (variance * level.signal) / spread(level) ** 2;
  const clean = x
    .sub(level.signal * mean)
    .mul(weight)
    .add(mean);
  return x.sub(clean.mul(level.signal)).div(level.deviation);
}

function run(config: Partial<DPMSolverMultistepConfig>, steps: number, start: Tensor): number[] {
  const scheduler = new DPMSolverMultistepScheduler({ betaSchedule: "squaredcos_cap_v2", ...config });
  const generator = new Generator(3);
  scheduler.setTimesteps(steps);
  return scope(() => {
    let x = start;
    for (const timestep of scheduler.timesteps)
      x = scheduler.step(predictNoise(scheduler, x, timestep), timestep, x, { generator }).prevSample;
    return x.toFlatArray();
  });
}

describe("DPMSolverMultistepScheduler", () => {
  it("samples a normal distribution along the probability flow, closer with more steps and a higher order than 1", () => {
    scope(() => {
      const start = tensor([-1.5, 0.5, 2], { dtype: "f64" });
      const error = (solverOrder: number, steps: number): number => {
        const found = run({ solverOrder }, steps, start);
        const expected = start.toFlatArray().map((z) => mean + Math.sqrt(variance) * z);
        return Math.max(...found.map((x, i) => Math.abs(x - expected[i]!)));
      };
      expect(error(1, 80)).toBeLessThan(0.6 * error(1, 40));
      expect(error(2, 80)).toBeLessThan(0.6 * error(2, 40));
      expect(error(3, 80)).toBeLessThan(0.6 * error(3, 40));
      expect(error(2, 40)).toBeLessThan(0.2 * error(1, 40));
      expect(error(3, 40)).toBeLessThan(0.2 * error(1, 40));
    });
  });

  it.each([1, 2, 3])("the SDE of order %i spreads one starting point over the whole distribution", (solverOrder) => {
    scope(() => {
      const samples = run({ solverOrder, algorithmType: "sde-dpmsolver++" }, 100, zeros([20_000], { dtype: "f64" }));
      const average = samples.reduce((sum, x) => sum + x, 0) / samples.length;
      const second = samples.reduce((sum, x) => sum + (x - average) ** 2, 0) / samples.length;
      // Standard errors are 0.0035 and 0.0025.
      expect(Math.abs(average - mean)).toBeLessThan(0.02);
      // With finite steps order 1 spreads a little too wide.
      expect(Math.abs(second - variance)).toBeLessThan(0.03);
      const still = run({ solverOrder }, 60, zeros([2], { dtype: "f64" }));
      expect(still[0]).toBe(still[1]);
    });
  });

  it("starts anew where a step does not follow the last one, and frees what it remembers", () => {
    scope(() => {
      const scheduler = new DPMSolverMultistepScheduler({ solverOrder: 3 });
      scheduler.setTimesteps(20);
      const [output, x] = [1, 2].map((seed) => randn([4], { dtype: "f64", generator: new Generator(seed) }));
      const step = (index: number, modelOutput: Tensor): number[] =>
        scope(() => scheduler.step(modelOutput, scheduler.timesteps[index]!, x!).prevSample.toFlatArray());
      const { liveTensors } = memory();
      const first = step(4, output!);
      const multistep = step(5, output!.mul(-1));
      expect(step(4, output!)).toEqual(first);
      step(3, output!);
      expect(step(5, output!.mul(-1))).not.toEqual(multistep);
      scheduler.reset();
      expect(memory().liveTensors).toBe(liveTensors + 2);
      for (let index = 0; index < 20; index++) step(index, output!);
      expect(memory().liveTensors).toBe(liveTensors + 2);
    });
  });

  it("ends runs of few steps with lower orders, longer ones as asked", () => {
    scope(() => {
      const x = tensor([0.4], { dtype: "f64" });
      const few = (config: object): number[] => run({ solverOrder: 3, finalSigmasType: "sigma_min", ...config }, 8, x);
      expect(few({ lowerOrderFinal: false })).not.toEqual(few({}));
      const many = (config: object): number[] => run({ solverOrder: 3, ...config }, 15, x);
      expect(many({ lowerOrderFinal: false })).toEqual(many({}));
    });
  });

  it("stays finite where the last step has no length", () => {
    scope(() => {
      const config = { solverOrder: 3, finalSigmasType: "sigma_min", timestepSpacing: "trailing" } as const;
      const found = run({ ...config, numTrainTimesteps: 40 }, 40, tensor([0.4], { dtype: "f64" }));
      expect(found[0]).toBeCloseTo(mean + Math.sqrt(variance) * 0.4, 1);
    });
  });

  it("refuses what it does not have, and an SDE step without a source of noise", () => {
    const Scheduler = DPMSolverMultistepScheduler;
    expect(() => new Scheduler({ solverOrder: 4 })).toThrow(/"solverOrder" is 4, expected an integer from 1 to 3/);
    expect(() => Scheduler.fromDiffusers({ algorithm_type: "dpmsolver" })).toThrow(/"algorithmType" is "dpmsolver"/);
    expect(() => Scheduler.fromDiffusers({ use_karras_sigmas: true })).toThrow(/"use_karras_sigmas" is true/);
    expect(Scheduler.fromDiffusers({ solver_order: 3, euler_at_final: false }).config.solverOrder).toBe(3);
    scope(() => {
      const x = zeros([2], { dtype: "f64" });
      const scheduler = new Scheduler({ algorithmType: "sde-dpmsolver++" });
      expect(() => scheduler.step(x, 999, x)).toThrow(/\[DPMSolverMultistepScheduler.step\].*generator or noise/);
    });
  });
});
