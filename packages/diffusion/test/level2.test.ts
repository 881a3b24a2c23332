import { Generator, mean, randn, scope, square, sub, tensor, type Tensor } from "@md/tensor";
import { expect, test } from "vitest";
import { DDPMScheduler, drawLevel2 } from "../src/index.js";

const draw = (overrides: Partial<Parameters<typeof drawLevel2>[0]> = {}): ReturnType<typeof drawLevel2> =>
  drawLevel2({
    batchSize: 2,
    samples: 3,
    numTrainTimesteps: 100,
    shape: [4, 3],
    generator: new Generator(11),
    dtype: "f64",
    ...overrides,
  });

test("draws are item-major", () => {
  scope(() => {
    const { size, timesteps, noise, repeat } = draw();
    expect(size).toBe(6);
    expect(timesteps.shape).toEqual([6]);
    expect(timesteps.dtype).toBe("i64");
    expect([timesteps.device, noise.device]).toEqual(["cpu", "cpu"]);
    expect(noise.shape).toEqual([6, 4, 3]);
    expect(
      repeat(
        tensor([
          [1, 2],
          [3, 4],
        ]),
      ).toFlatArray(),
    ).toEqual([1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4]);
    expect(repeat(tensor([7, 8])).toFlatArray()).toEqual([7, 7, 7, 8, 8, 8]);
  });
});

// Two items with different instructions and targets; the instruction names the target, so a model that reads the
// right one predicts the noise exactly.
test("each sample meets the instruction and the target of its own item", () => {
  scope(() => {
    const [batchSize, samples] = [2, 3];
    const scheduler = new DDPMScheduler({ numTrainTimesteps: 100, betaSchedule: "squaredcos_cap_v2" });
    const draws = draw({ batchSize, samples });
    const targets = randn([batchSize, 4, 3], { dtype: "f64", generator: new Generator(1) });
    const byInstruction = targets.toFlatArray();
    const noised = scheduler.addNoise(draws.repeat(targets), draws.noise, draws.timesteps);
    const lossOf = (instructions: number[]): number => {
      const named = tensor(
        instructions.flatMap((item) => byInstruction.slice(item * 12, item * 12 + 12)),
        { shape: [6, 4, 3], dtype: "f64" },
      );
      const predicted = noiseBetween(named, noised, draws.timesteps.toFlatArray(), scheduler);
      return draws.meanLoss(mean(square(sub(predicted, draws.noise)), { dim: [1, 2] })).item();
    };
    expect(lossOf(draws.repeat(tensor([0, 1])).toFlatArray())).toBeLessThan(1e-9);
    const sampleMajor = Array.from({ length: 6 }, (_, n) => n % batchSize);
    expect(lossOf(sampleMajor)).toBeGreaterThan(0.01);
  });
});

// The noise that leads from `clean` to `noised`.
function noiseBetween(clean: Tensor, noised: Tensor, timesteps: number[], scheduler: DDPMScheduler): Tensor {
  const [x0, xt] = [clean.toFlatArray(), noised.toFlatArray()];
  const noise = xt.map((value, i) => {
    const alpha = scheduler.alphasCumprod[timesteps[Math.floor(i / 12)]!]!;
    return (value - Math.sqrt(alpha) * x0[i]!) / Math.sqrt(1 - alpha);
  });
  return tensor(noise, { shape: clean.shape, dtype: "f64" });
}

test("timestep and noise are drawn for every sample of every item", () => {
  scope(() => {
    const { timesteps, noise } = draw({ batchSize: 8, samples: 64, shape: [3] });
    const values = noise.toFlatArray();
    expect(new Set(values).size).toBe(values.length);
    const counts = new Map<number, number>();
    for (const timestep of timesteps.toFlatArray()) counts.set(timestep, (counts.get(timestep) ?? 0) + 1);
    for (const timestep of counts.keys()) expect(timestep >= 0 && timestep < 100).toBe(true);
    // 512 draws of 100 values: about 99 are met, none 20 times.
    expect(counts.size).toBeGreaterThan(90);
    expect(Math.max(...counts.values())).toBeLessThan(20);
    const perItem = Array.from({ length: 8 }, (_, i) => String(timesteps.toFlatArray().slice(i * 64, i * 64 + 64)));
    expect(new Set(perItem).size).toBe(8);
  });
});

test("the loss is the mean over all samples", () => {
  scope(() => {
    const { meanLoss } = draw();
    expect(meanLoss(tensor([1, 2, 3, 4, 5, 9], { dtype: "f64" })).item()).toBe(4);
    expect(() => meanLoss(tensor([1, 2]))).toThrow(/shape is \[2\], expected \[6\]/);
  });
});

test("gradients of repeated rows are summed item by item", () => {
  scope(() => {
    const context = tensor([1, 2], { dtype: "f64", requiresGrad: true });
    const { repeat, meanLoss } = draw();
    meanLoss(repeat(context).mul(tensor([1, 2, 3, 4, 5, 6], { dtype: "f64" }))).backward();
    expect(context.grad?.toFlatArray()).toEqual([1, 2.5]);
  });
});

test("same seed, same draws; bad counts and shapes are refused", () => {
  scope(() => {
    expect(draw().noise.toFlatArray()).toEqual(draw().noise.toFlatArray());
    expect(draw().timesteps.toFlatArray()).toEqual(draw().timesteps.toFlatArray());
    expect(() => draw({ samples: 0 })).toThrow(/samples is 0/);
    expect(() => draw({ batchSize: 1.5 })).toThrow(/batchSize is 1.5/);
    expect(() => draw().repeat(tensor([1, 2, 3]))).toThrow(/expected 2 rows/);
  });
});
