import { Generator, memory, randn, scope, tensor, type Tensor, ValueError } from "@md/tensor";
import { describe, expect, it, test } from "vitest";
import { FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler } from "../src/index.js";

const schedulers = [
  ["Euler", FlowMatchEulerDiscreteScheduler],
  ["Heun", FlowMatchHeunDiscreteScheduler],
] as const;
const normal = (seed: number): Tensor => randn([4, 3], { dtype: "f64", generator: new Generator(seed) });
const even = (steps: number): number[] => Array.from({ length: steps }, (_, i) => 1 - i / steps);

describe.each(schedulers)("FlowMatch%sDiscreteScheduler", (name, Scheduler) => {
  it("config is complete, frozen and survives JSON", () => {
    const scheduler = new Scheduler({ shift: 2.5 });
    expect(scheduler.config).toEqual({ numTrainTimesteps: 1000, shift: 2.5 });
    expect(Object.isFrozen(scheduler.config)).toBe(true);
    const again = Scheduler.fromConfig(JSON.parse(JSON.stringify(scheduler)));
    expect(again.config).toEqual(scheduler.config);
    expect(again.sigmas).toEqual(scheduler.sigmas);
  });

  it.each([
    [{ shif: 1 }, /unknown config key "shif".*"shift"/],
    [{ shift: 0 }, /"shift" is 0, expected a number above 0/],
    [{ numTrainTimesteps: 0 }, /"numTrainTimesteps" is 0/],
    [null, /config is null/],
  ])("config %j is refused", (config, message) => {
    expect(() => Scheduler.fromConfig(config)).toThrow(ValueError);
    expect(() => Scheduler.fromConfig(config)).toThrow(message);
  });

  it("a diffusers config is read, unless it asks for what is not here", () => {
    const neutral = { _class_name: "X", use_dynamic_shifting: false, base_shift: 0.5, shift_terminal: null };
    expect(Scheduler.fromDiffusers({ ...neutral, shift: 3 }).config.shift).toBe(3);
    expect(() => Scheduler.fromDiffusers({ use_dynamic_shifting: true })).toThrow(/"use_dynamic_shifting" is true/);
  });

  it("chooses noise levels from 1 to the lowest of training, moved by the shift, or those given", () => {
    const scheduler = new Scheduler({ numTrainTimesteps: 10 });
    scheduler.setTimesteps(4);
    expect(scheduler.sigmas).toEqual([1, 0.7, expect.closeTo(0.4, 12), expect.closeTo(0.1, 12), 0]);
    for (const count of [0, 11, 2.5, Number.NaN]) expect(() => scheduler.setTimesteps(count)).toThrow(ValueError);
    const shifted = new Scheduler({ shift: 3 });
    shifted.setSigmas([1, 0.5]);
    expect(shifted.sigmas).toEqual([1, 0.75, 0]);
    expect(shifted.timesteps.slice(0, 2)).toEqual([1000, 750]);
    for (const sigmas of [[], [0.5, 0.5], [1.1, 0.5], [0.5, 0], [Number.NaN]])
      expect(() => shifted.setSigmas(sigmas)).toThrow(/\[setSigmas\] found .*, expected numbers that descend/);
  });

  it("noises along straight lines whose velocity is the target", () => {
    scope(() => {
      const scheduler = new Scheduler();
      const [clean, noise] = [normal(1), normal(2)];
      expect(scheduler.addNoise(clean, noise, [0, 0, 0, 0]).toFlatArray()).toEqual(clean.toFlatArray());
      const at = (timestep: number): number[] =>
        scheduler.addNoise(clean, noise, tensor([timestep, timestep, 0, 0], { dtype: "f32" })).toFlatArray();
      const [a, b, c] = [clean, noise, scheduler.getVelocity(clean, noise)].map((x) => x.toFlatArray());
      at(250).forEach((x, i) => expect(x).toBeCloseTo(i < 6 ? 0.75 * a![i]! + 0.25 * b![i]! : a![i]!, 12));
      at(250).forEach((x, i) => i < 6 && expect(x).toBeCloseTo(a![i]! + 0.25 * c![i]!, 12));
      expect(() => scheduler.addNoise(clean, noise, [0, 0, 0, 1001])).toThrow(/found timestep 1001/);
      expect(() => scheduler.addNoise(clean, noise, [0])).toThrow(/found 1 timesteps/);
    });
  });

  it("follows a model that knows the line, to the clean sample", () => {
    scope(() => {
      const scheduler = new Scheduler({ shift: 2 });
      scheduler.setTimesteps(5);
      const [clean, noise] = [normal(1), normal(2)];
      const velocity = scheduler.getVelocity(clean, noise);
      let x = noise;
      for (const timestep of scheduler.timesteps) {
        const { prevSample, predOriginalSample } = scheduler.step(velocity, timestep, x);
        predOriginalSample.toFlatArray().forEach((value, i) => expect(value).toBeCloseTo(clean.toFlatArray()[i]!, 10));
        x = prevSample;
      }
      x.toFlatArray().forEach((value, i) => expect(value).toBeCloseTo(clean.toFlatArray()[i]!, 10));
    });
  });

  it("checks timestep, shape and dtype of a step", () => {
    scope(() => {
      const scheduler = new Scheduler();
      expect(() => scheduler.step(normal(1), 3.5, normal(2))).toThrow(/timestep 3.5 is not among/);
      expect(() => scheduler.step(normal(1).to("f32"), 1000, normal(2))).toThrow(
        new RegExp(`\\[FlowMatch${name}DiscreteScheduler.step\\] modelOutput is f32`),
      );
    });
  });
});

// Clean samples are normal with mean 0.3 and variance 0.25: the flow takes z standard deviations of noise to z of them.
function flowError(Scheduler: (typeof schedulers)[number][1], steps: number, shift: number): number {
  const scheduler = new Scheduler({ shift });
  scheduler.setSigmas(even(steps));
  return scope(() => {
    let x = tensor([1.5], { dtype: "f64" });
    for (const timestep of scheduler.timesteps) {
      const sigma = timestep / 1000;
      const variance = (1 - sigma) ** 2 * 0.25 + sigma ** 2;
      const centred = x.sub((1 - sigma) * 0.3);
      const velocity = centred.mul((sigma - (1 - sigma) * 0.25) / variance).sub(0.3);
      x = scheduler.step(velocity, timestep, x).prevSample;
    }
    return Math.abs(x.item() - (0.3 + 0.5 * 1.5));
  });
}

test.each([
  ["Euler", FlowMatchEulerDiscreteScheduler, 1],
  ["Heun", FlowMatchHeunDiscreteScheduler, 2],
] as const)("%s: the error falls with the right power of the step, shifted or not", (_, Scheduler, power) => {
  for (const shift of [1, 2]) {
    const rate = Math.log2(flowError(Scheduler, 128, shift) / flowError(Scheduler, 256, shift));
    expect(rate).toBeGreaterThan(power - 0.1);
    expect(rate).toBeLessThan(power + 0.1);
  }
});

describe("Heun's two evaluations a step", () => {
  it("are at both ends of it, once in the last step", () => {
    const scheduler = new FlowMatchHeunDiscreteScheduler();
    scheduler.setSigmas(even(4));
    expect(scheduler.timesteps).toEqual([1000, 750, 750, 500, 500, 250, 250]);
  });

  it("start anew where the second does not follow, and leave nothing behind", () => {
    scope(() => {
      const scheduler = new FlowMatchHeunDiscreteScheduler();
      scheduler.setSigmas(even(4));
      const [velocity, x] = [normal(1), normal(2)];
      const step = (timestep: number): number[] =>
        scope(() => scheduler.step(velocity.mul(timestep), timestep, x).prevSample.toFlatArray());
      const { liveTensors } = memory();
      const started = step(500);
      const completed = step(250);
      expect(step(500)).toEqual(started);
      step(1000);
      expect(step(250)).not.toEqual(completed);
      expect(memory().liveTensors).toBe(liveTensors);
      step(500);
      expect(memory().liveTensors).toBeGreaterThan(liveTensors);
      scheduler.setSigmas(even(2));
      expect(memory().liveTensors).toBe(liveTensors);
    });
  });
});
