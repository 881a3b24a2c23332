import { compareNumbers, mean, noGrad, scope, tensor, type Tensor } from "@md/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { DenseReference } from "./dense-reference.js";
import { makePolicy, randomItem, scenesOf, small, surfaceBatch, timestepsOf, uniform } from "./small.js";

// Of different sizes; the last has no instruction, and fewer points than a patch.
const items = [randomItem(50, 3, 10), randomItem(70, 1, 20), randomItem(9, 0, 30)];
const samples = 4;
// Samples near the points and, a few, far outside of the scene.
const positions = uniform(3 * items.length * samples, 0.8, 40);
const timesteps = Array.from({ length: items.length * samples }, (_, n) => (17 * n) % 100);
const at = (n: number): number[] => positions.slice(3 * n, 3 * n + 3);
const itemOf = (n: number): (typeof items)[number] => items[Math.floor(n / samples)]!;
const inF64 = (state: ReadonlyMap<string, Tensor>): Map<string, Tensor> =>
  new Map([...state].filter(([, x]) => x.dtype !== "i64").map(([name, x]) => [name, x.detach().to("f64")]));
const quietly = (body: () => void): void => noGrad(() => scope(body));

describe.each(["f64", "f32"] as const)("the network in %s", (dtype) => {
  const policy = makePolicy(small, { dtype }).eval();
  const tolerance = dtype === "f64" ? 1e-10 : 1e-5;
  afterAll(() => policy.dispose());

  it("predicts what the dense reference does, every sample by itself", () => {
    quietly(() => {
      const reference = new DenseReference(inF64(policy.stateDict()), small);
      const encoded = policy.network.encode(scenesOf(items, dtype));
      const placed = tensor(positions, { shape: [items.length, samples, 3], dtype });
      const predicted = policy.network.predict(encoded, placed, timestepsOf(timesteps)).toFlatArray();
      timesteps.forEach((timestep, n) => {
        const expected = reference.predict(itemOf(n), at(n), timestep).toFlatArray();
        compareNumbers(`sample ${n}`, predicted.slice(3 * n, 3 * n + 3), expected, tolerance);
      });
    });
  });

  it("classifies rotation and gripper as the dense reference does", () => {
    quietly(() => {
      const reference = new DenseReference(inF64(policy.stateDict()), small);
      const encoded = policy.network.encode(scenesOf(items, dtype));
      const { rotation, open } = policy.network.pose(
        encoded,
        tensor(positions, { shape: [items.length, samples, 3], dtype }),
      );
      expect(rotation.shape).toEqual([items.length, samples, 3, 72]);
      timesteps.forEach((_, n) => {
        const expected = reference.pose(itemOf(n), at(n));
        const logits = rotation.reshape([-1, 3, 72]).narrow(0, n, 1).toFlatArray();
        compareNumbers(`rotation ${n}`, logits, expected.rotation.toFlatArray(), tolerance);
        compareNumbers(`open ${n}`, [open.toFlatArray()[n]!], expected.open.toFlatArray(), tolerance);
      });
    });
  });
});

/** ᾱ of the cosine schedule (Nichol & Dhariwal, 2021), β at most 0.999. */
function signalOf(timestep: number): number {
  const bar = (t: number): number => Math.cos((((t / 100 + 0.008) / 1.008) * Math.PI) / 2) ** 2;
  let product = 1;
  for (let t = 0; t <= timestep; t++) product *= 1 - Math.min(1 - bar(t + 1) / bar(t), 0.999);
  return product;
}

it("the losses are those of the equations", () => {
  const policy = makePolicy(small, { dtype: "f64" }).eval();
  quietly(() => {
    const reference = new DenseReference(inF64(policy.stateDict()), small);
    const { positionBounds } = small;
    const centers = Float32Array.from(uniform(9, 0.2, 50));
    const targets = uniform(9, 0.2, 51);
    const noise = uniform(3 * timesteps.length, 1.5, 52);
    const jitter = uniform(9, 0.01, 53);
    const bins = uniform(9, 36, 54).map((value) => Math.floor(value + 36));
    const open = [1, 0, 1];
    const dense = (values: number[]): Tensor => tensor(values, { shape: [values.length / 3, 3], dtype: "f64" });
    const { loss, parts } = policy.lossOf(
      scenesOf(items, "f64"),
      centers,
      {
        positions: dense(targets),
        rotationBins: tensor(Int32Array.from(bins), { shape: [3, 3] }),
        open: tensor(open, { dtype: "f64" }),
      },
      {
        level2: {
          size: timesteps.length,
          timesteps: timestepsOf(timesteps),
          noise: dense(noise),
          repeat: (x) => x.unsqueeze(1).expand([3, samples, 3]).reshape([-1, 3]),
          meanLoss: (x) => mean(x),
        },
        jitter: dense(jitter),
      },
    );

    const [low, high] = [positionBounds.min, positionBounds.max];
    let squares = 0;
    timesteps.forEach((timestep, n) => {
      const item = Math.floor(n / samples);
      const signal = signalOf(timestep);
      const placed = [0, 1, 2].map((axis) => {
        const [half, middle] = [(high[axis]! - low[axis]!) / 2, (high[axis]! + low[axis]!) / 2];
        const clean = (targets[3 * item + axis]! + centers[3 * item + axis]! - middle) / half;
        // Eq. 9 in [-1, 1], then back to metres from the centre.
        const noised = Math.sqrt(signal) * clean + Math.sqrt(1 - signal) * noise[3 * n + axis]!;
        return noised * half + middle - centers[3 * item + axis]!;
      });
      const predicted = reference.predict(itemOf(n), placed, timestep).toFlatArray();
      predicted.forEach((value, axis) => (squares += (value - noise[3 * n + axis]!) ** 2));
    });
    let [rotation, opening] = [0, 0];
    items.forEach((item, i) => {
      const near = [0, 1, 2].map((axis) => targets[3 * i + axis]! + jitter[3 * i + axis]!);
      const pose = reference.pose(item, near);
      const logits = pose.rotation.toFlatArray();
      for (let axis = 0; axis < 3; axis++) {
        const row = logits.slice(72 * axis, 72 * axis + 72);
        rotation += (Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - row[bins[3 * i + axis]!]!) / 9;
      }
      const chance = 1 / (1 + Math.exp(-pose.open.item()));
      opening -= Math.log(open[i] === 1 ? chance : 1 - chance) / 3;
    });
    const expected = [squares / noise.length, rotation, opening];
    compareNumbers("parts", [parts.noise!.item(), parts.rotation!.item(), parts.open!.item()], expected, 1e-9);
    compareNumbers("loss", [loss.item()], [20 * expected[0]! + expected[1]! + expected[2]!], 1e-9);
  });
  policy.dispose();
});

it("scenes are centred on the middle of the data's bounds, in which positions are diffused", () => {
  const policy = makePolicy().eval();
  quietly(() => {
    const batch = surfaceBatch(2, { lengths: [3, 1] });
    const reference = new DenseReference(inF64(policy.stateDict()), small);
    const placed = tensor(uniform(12, 0.9, 60), { shape: [2, 2, 3] });
    const predicted = policy.predict(policy.encode(batch), placed, timestepsOf([3, 50, 99, 20])).toFlatArray();
    const { min, max } = small.positionBounds;
    for (let n = 0; n < 4; n++) {
      const i = Math.floor(n / 2);
      const rows = Array.from({ length: 60 }, (_, row) =>
        Array.from(batch.points.subarray(180 * i + 3 * row).slice(0, 3)),
      );
      const center = min.map((low, axis) => (low + max[axis]!) / 2);
      const points = rows.map((row) => row.map((value, axis) => Math.fround(value - Math.fround(center[axis]!))));
      const colors = rows.map((_, row) => Array.from(batch.colors.subarray(180 * i + 3 * row).slice(0, 3)));
      const item = {
        points,
        features: rows.map((row, p) => [...points[p]!, ...colors[p]!.map((value) => 2 * value - 1), row[2]!]),
        words: Array.from({ length: [3, 1][i]! }, (_, t) =>
          Array.from(batch.instruction.subarray(18 * i + 6 * t).slice(0, 6)),
        ),
      };
      const metres = placed
        .toFlatArray()
        .slice(3 * n, 3 * n + 3)
        .map((x, axis) => (x * (max[axis]! - min[axis]!) + max[axis]! + min[axis]!) / 2 - center[axis]!);
      const expected = reference.predict(item, metres, [3, 50, 99, 20][n]!).toFlatArray();
      compareNumbers(`sample ${n}`, predicted.slice(3 * n, 3 * n + 3), expected, 1e-5);
    }
  });
  policy.dispose();
});
