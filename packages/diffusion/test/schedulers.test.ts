import { Generator, randn, scope, type Tensor, tensor, ValueError } from "@md/tensor";
import { describe, expect, test } from "vitest";
import {
  DDIMScheduler,
  DDPMScheduler,
  DPMSolverMultistepScheduler,
  type PredictionType,
  predictionTypes,
  type SchedulerConfig,
  timestepSpacings,
} from "../src/index.js";

const schedulers = [
  ["DDPM", DDPMScheduler, { spacing: "leading", visited: [7, 4, 1], most: 10 }],
  ["DDIM", DDIMScheduler, { spacing: "leading", visited: [7, 4, 1], most: 10 }],
  ["DPMSolverMultistep", DPMSolverMultistepScheduler, { spacing: "linspace", visited: [7, 5, 3], most: 9 }],
] as const;

function expectClose(actual: Tensor, expected: Tensor, tolerance = 1e-10): void {
  const [a, b] = [actual.toFlatArray(), expected.toFlatArray()];
  expect(a.length).toBe(b.length);
  a.forEach((value, i) => {
    if (!(Math.abs(value - b[i]!) <= tolerance * (1 + Math.abs(b[i]!)))) {
      throw new Error(`element ${i} is ${value}, expected ${b[i]}`);
    }
  });
}

const normal = (seed: number, shape = [5, 3]): Tensor => randn(shape, { dtype: "f64", generator: new Generator(seed) });

describe.each(schedulers)("%sScheduler", (_, Scheduler, { spacing, visited, most }) => {
  test("config is complete, frozen and survives JSON", () => {
    const scheduler = new Scheduler({ numTrainTimesteps: 40, betaSchedule: "squaredcos_cap_v2" });
    expect(scheduler.config).toMatchObject({ numTrainTimesteps: 40, betaStart: 1e-4, timestepSpacing: spacing });
    expect(Object.isFrozen(scheduler.config)).toBe(true);
    const again = Scheduler.fromConfig(JSON.parse(JSON.stringify(scheduler)));
    expect(again.config).toEqual(scheduler.config);
    expect(again.alphasCumprod).toEqual(scheduler.alphasCumprod);
  });

  test.each([
    [{ betaSchedul: "linear" }, /unknown config key "betaSchedul".*"betaSchedule"/],
    [{ betaSchedule: "cosine" }, /"betaSchedule" is "cosine", expected "linear"/],
    [{ numTrainTimesteps: 1.5 }, /"numTrainTimesteps" is 1.5/],
    [{ betaEnd: 1 }, /"betaEnd" is 1, expected a number between 0 and 1/],
    [{ betaStart: Number.NaN }, /"betaStart"/],
    [{ clipSample: null }, /"clipSample" is null/],
    [[], /config is \[\]/],
    [null, /config is null/],
  ])("config %j is refused", (config, message) => {
    expect(() => Scheduler.fromConfig(config)).toThrow(ValueError);
    expect(() => Scheduler.fromConfig(config)).toThrow(message);
  });

  test("a diffusers config is read, unless it asks for what is not here", () => {
    const neutral = { _class_name: "X", trained_betas: null, thresholding: false, sample_max_value: 1 };
    const scheduler = Scheduler.fromDiffusers({ ...neutral, num_train_timesteps: 20, beta_schedule: "scaled_linear" });
    expect(scheduler.config).toMatchObject({ numTrainTimesteps: 20, betaSchedule: "scaled_linear" });
    expect(() => Scheduler.fromDiffusers({ thresholding: true })).toThrow(/"thresholding" is true/);
    expect(() => Scheduler.fromDiffusers({ trained_betas: [0.1] })).toThrow(/"trained_betas"/);
    expect(() => Scheduler.fromDiffusers({ beta_stort: 0.1 })).toThrow(/nearest is "betaStart"/);
  });

  test("setTimesteps takes 1 to numTrainTimesteps, step only what was chosen", () => {
    const scheduler = new Scheduler({ numTrainTimesteps: 10, stepsOffset: 1, timestepSpacing: "leading" });
    expect(scheduler.timesteps).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    for (const count of [0, most + 1, 2.5, Number.NaN]) expect(() => scheduler.setTimesteps(count)).toThrow(ValueError);
    expect(() => scheduler.setTimesteps(most)).toThrow(/reach timestep 10/);
    scheduler.setTimesteps(3);
    expect(scheduler.timesteps).toEqual(visited);
    scope(() => expect(() => scheduler.step(normal(1), 6, normal(2))).toThrow(/timestep 6 is not among the 3/));
  });

  test("shapes, dtypes and timesteps are checked", () => {
    const scheduler = new Scheduler({ numTrainTimesteps: 10 });
    scope(() => {
      const x = normal(1);
      expect(() => scheduler.addNoise(x, normal(2, [5, 4]), [0, 1, 2, 3, 4])).toThrow(
        /\[addNoise\] noise has shape \[5,4\]/,
      );
      expect(() => scheduler.addNoise(x, normal(2), [0, 1])).toThrow(/found 2 timesteps/);
      expect(() => scheduler.addNoise(x, normal(2), [0, 1, 2, 3, 10])).toThrow(/found timestep 10/);
      expect(() => scheduler.addNoise(x, normal(2), [0, 1, 2, 3, 0.5])).toThrow(/found timestep 0.5/);
      expect(() => scheduler.step(x.to("f32"), 0, x)).toThrow(/modelOutput is f32/);
    });
  });

  test("remainingSignal is the square root of the last cumulative alpha", () => {
    const scheduler = new Scheduler({ numTrainTimesteps: 100 });
    const product = Array.from(scheduler.betas).reduce((total, beta) => total * (1 - beta), 1);
    expect(scheduler.remainingSignal()).toBeCloseTo(Math.sqrt(product), 12);
    expect(new Scheduler({ numTrainTimesteps: 100, betaSchedule: "squaredcos_cap_v2" }).remainingSignal()).toBeLessThan(
      1e-3,
    );
  });

  test("the three prediction types of one model take the same step", () => {
    scope(() => {
      const [clean, noise, stepNoise] = [normal(1), normal(2), normal(3)];
      const results = predictionTypes.map((predictionType) => {
        const scheduler = new Scheduler({ numTrainTimesteps: 100, predictionType, clipSample: false });
        scheduler.setTimesteps(7);
        const [timestep] = scheduler.timesteps.slice(2);
        const each = Array.from({ length: 5 }, () => timestep!);
        const outputs: Record<PredictionType, Tensor> = {
          epsilon: noise,
          sample: clean,
          v_prediction: scheduler.getVelocity(clean, noise, each),
        };
        const noised = scheduler.addNoise(clean, noise, tensor(each, { dtype: "i64" }));
        return scheduler.step(outputs[predictionType], timestep!, noised, { noise: stepNoise });
      });
      for (const { prevSample, predOriginalSample } of results) {
        expectClose(prevSample, results[0]!.prevSample);
        expectClose(predOriginalSample, clean);
      }
    });
  });

  test("clipSample holds the clean sample to its range", () => {
    scope(() => {
      const scheduler = new Scheduler({
        numTrainTimesteps: 10,
        predictionType: "sample",
        clipSample: true,
        clipSampleRange: 0.5,
      });
      const output = tensor([-3, 0.2, 0.7], { dtype: "f64" });
      const { predOriginalSample } = scheduler.step(output, 0, tensor([0, 0, 0], { dtype: "f64" }));
      expect(predOriginalSample.toFlatArray()).toEqual([-0.5, 0.2, 0.5]);
    });
  });

  test("a step keeps only its result and records no gradient", () => {
    scope(() => {
      const scheduler = new Scheduler({ numTrainTimesteps: 10, clipSample: false, predictionType: "sample" });
      const output = normal(1).detach();
      output.requiresGrad = true;
      const result = scheduler.step(output, 0, normal(2));
      expect(result.prevSample.requiresGrad).toBe(false);
      result.predOriginalSample.dispose();
      expect(output.disposed).toBe(false);
    });
  });

  test("the same generator seed draws the same bits", () => {
    const draw = (): number[] =>
      scope(() => {
        const scheduler = new Scheduler({ numTrainTimesteps: 10 });
        const options = { generator: new Generator(5), eta: 1 };
        return scheduler.step(normal(1), 9, normal(2), options).prevSample.toFlatArray();
      });
    expect(draw()).toEqual(draw());
  });
});

test.each(timestepSpacings)(
  "DDIM with %s spacing follows a model that knows the noise, step by step",
  (timestepSpacing) => {
    scope(() => {
      // 7 does not divide 100: the strides are uneven.
      const config: Partial<SchedulerConfig> = { numTrainTimesteps: 100, timestepSpacing, clipSample: false };
      const scheduler = new DDIMScheduler(config);
      scheduler.setTimesteps(7);
      const [clean, noise] = [normal(1), normal(2)];
      const noised = (timestep: number): Tensor =>
        scheduler.addNoise(
          clean,
          noise,
          Array.from({ length: 5 }, () => timestep),
        );
      let sample = noised(scheduler.timesteps[0]!);
      scheduler.timesteps.forEach((timestep, k) => {
        sample = scheduler.step(noise, timestep, sample).prevSample;
        const next = scheduler.timesteps[k + 1];
        expectClose(sample, next === undefined ? clean : noised(next));
      });
    });
  },
);

test("DDIM with eta 1 takes DDPM's step", () => {
  scope(() => {
    const config: Partial<SchedulerConfig> = { numTrainTimesteps: 50, clipSample: false };
    const [ddpm, ddim] = [new DDPMScheduler(config), new DDIMScheduler(config)];
    const [output, sample, noise] = [normal(1), normal(2), normal(3)];
    ddpm.setTimesteps(10);
    ddim.setTimesteps(10);
    const options = { noise, eta: 1 };
    expectClose(ddim.step(output, 20, sample, options).prevSample, ddpm.step(output, 20, sample, options).prevSample);
  });
});

test("DDIM refuses an eta out of 0 to 1, and eta without a source of noise", () => {
  scope(() => {
    const scheduler = new DDIMScheduler({ numTrainTimesteps: 10 });
    const [output, sample] = [normal(1), normal(2)];
    for (const eta of [-0.1, 1.5, Number.NaN])
      expect(() => scheduler.step(output, 5, sample, { eta })).toThrow(/eta is/);
    expect(() => scheduler.step(output, 5, sample, { eta: 1 })).toThrow(/expected generator or noise/);
  });
});

test("setAlphaToOne chooses what DDIM's last step returns to", () => {
  scope(() => {
    const config = { numTrainTimesteps: 10, clipSample: false };
    const [clean, noise] = [normal(1), normal(2)];
    const last = (setAlphaToOne: boolean): Tensor => {
      const scheduler = new DDIMScheduler({ ...config, setAlphaToOne });
      return scheduler.step(noise, 0, scheduler.addNoise(clean, noise, [0, 0, 0, 0, 0])).prevSample;
    };
    expectClose(last(true), clean);
    expectClose(last(false), new DDIMScheduler(config).addNoise(clean, noise, [0, 0, 0, 0, 0]));
  });
});

test.each([
  ["leading", 4, [6, 4, 2, 0]],
  ["trailing", 4, [9, 7, 4, 1]],
  ["linspace", 4, [9, 6, 3, 0]],
  ["linspace", 1, [0]],
  ["trailing", 10, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]],
] as const)("%s spacing of %i among 10", (timestepSpacing, count, expected) => {
  const scheduler = new DDIMScheduler({ numTrainTimesteps: 10, timestepSpacing });
  scheduler.setTimesteps(count);
  expect(scheduler.timesteps).toEqual(expected);
});
