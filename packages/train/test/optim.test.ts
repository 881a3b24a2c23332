import { afterEach, describe, expect, it } from "vitest";
import { BatchNorm1d, Module, Parameter } from "@md/nn";
import { memory, tensor, ValueError } from "@md/tensor";
import { AdamW } from "../src/optim/adamw.js";
import { clipFactor, clipGradNorm } from "../src/optim/clip-grad-norm.js";
import { Ema } from "../src/optim/ema.js";
import { cosineWithWarmup } from "../src/optim/lr-schedule.js";

class Point extends Module {
  readonly at = new Parameter(tensor([1, -2], { dtype: "f64" }));
}

// AdamW of Loshchilov & Hutter (2019), algorithm 2, by hand.
function reference(start: number, grads: readonly number[], lr: number, decay: number): number {
  const [beta1, beta2, epsilon] = [0.9, 0.98, 1e-8];
  let [x, m, v] = [start, 0, 0];
  grads.forEach((grad, i) => {
    x -= lr * decay * x;
    m = beta1 * m + (1 - beta1) * grad;
    v = beta2 * v + (1 - beta2) * grad * grad;
    x -= (lr * (m / (1 - beta1 ** (i + 1)))) / (Math.sqrt(v / (1 - beta2 ** (i + 1))) + epsilon);
  });
  return x;
}

const setGrad = (parameter: Parameter, values: number[]): void => {
  parameter.grad?.dispose();
  parameter.grad = tensor(values, { dtype: parameter.dtype }).keep();
};

describe("AdamW", () => {
  it("follows the published algorithm", () => {
    const point = new Point();
    const optimizer = new AdamW(point.namedParameters(), { learningRate: 0.1, weightDecay: 0.05 });
    const grads = [
      [0.5, -3],
      [-0.2, 1],
      [0.9, 0],
    ];
    for (const grad of grads) {
      setGrad(point.at, grad);
      optimizer.step();
    }
    point.at.toFlatArray().forEach((value, k) => {
      const expected = reference(
        [1, -2][k]!,
        grads.map((grad) => grad[k]!),
        0.1,
        0.05,
      );
      expect(Math.abs(value - expected)).toBeLessThan(1e-12);
    });
  });

  it("goes on to the bit after its state was saved and loaded", () => {
    const run = (interrupt: boolean): number[] => {
      const point = new Point();
      let optimizer = new AdamW(point.namedParameters());
      for (let i = 0; i < 4; i++) {
        if (interrupt && i === 2) {
          const saved = optimizer.stateDict();
          optimizer = new AdamW(point.namedParameters());
          optimizer.loadStateDict(saved);
        }
        setGrad(point.at, [Math.sin(i), i - 1]);
        optimizer.step();
      }
      return point.at.toFlatArray();
    };
    expect(run(true)).toEqual(run(false));
  });

  it("leaves parameters without gradient alone, and refuses a state that does not fit", () => {
    const point = new Point();
    const optimizer = new AdamW(point.namedParameters());
    optimizer.step();
    expect(point.at.toFlatArray()).toEqual([1, -2]);
    expect(() => optimizer.loadStateDict(new Map())).toThrow(ValueError);
    const other = new AdamW(new Map([["b", new Parameter(tensor([1]))]]));
    expect(() => optimizer.loadStateDict(other.stateDict())).toThrow(/missing expAvg.at/);
  });

  it("frees its state", () => {
    const point = new Point();
    const before = memory().liveTensors;
    new AdamW(point.namedParameters()).dispose();
    expect(memory().liveTensors).toBe(before);
  });
});

describe("clipGradNorm", () => {
  it("scales to the norm, also where two parameters share one gradient", () => {
    const [a, b] = [new Parameter(tensor([1, 1])), new Parameter(tensor([1, 1]))];
    a.add(b)
      .mul(tensor([3, 4]))
      .backward({ gradient: tensor([1, 1]) });
    const norm = clipGradNorm([a, b], 1);
    expect(Math.abs(norm - Math.sqrt(50))).toBeLessThan(1e-5);
    for (const { grad } of [a, b]) {
      const [x, y] = grad!.toFlatArray();
      expect(Math.abs(x! - 3 / norm)).toBeLessThan(1e-6);
      expect(Math.abs(y! - 4 / norm)).toBeLessThan(1e-6);
    }
  });

  it("leaves small gradients, and those that are not finite", () => {
    const a = new Parameter(tensor([0, 0]));
    setGrad(a, [3, 4]);
    expect(clipGradNorm([a], 10)).toBe(5);
    expect(a.grad!.toFlatArray()).toEqual([3, 4]);
    setGrad(a, [NaN, 4]);
    expect(clipGradNorm([a], 1)).toBeNaN();
    expect(a.grad!.toFlatArray()).toEqual([NaN, 4]);
  });

  it("refuses a norm that is not over 0", () => {
    const a = new Parameter(tensor([0, 0]));
    setGrad(a, [3, 4]);
    for (const wrong of [0, -1, NaN]) expect(() => clipGradNorm([a], wrong)).toThrow(/maxNorm is/);
    expect(a.grad!.toFlatArray()).toEqual([3, 4]);
  });
});

describe("clipFactor", () => {
  it("has AdamW clip on the way, to the bits of scaled gradients", () => {
    const step = (clip: (a: Parameter, optimizer: AdamW) => void): number[] => {
      const a = new Parameter(tensor([0.1, -0.2]));
      const optimizer = new AdamW(new Map([["a", a]]));
      setGrad(a, [3, 4]);
      clip(a, optimizer);
      optimizer.dispose();
      return a.toFlatArray();
    };
    const folded = step((_, optimizer) => optimizer.step(1e-2, clipFactor(5, 0.7)));
    const scaled = step((a, optimizer) => {
      clipGradNorm([a], 0.7);
      optimizer.step(1e-2);
    });
    expect(folded).toEqual(scaled);
    expect([clipFactor(5, 10), clipFactor(NaN, 1), clipFactor(Infinity, 1), clipFactor(5, Infinity)]).toEqual([
      1, 1, 1, 1,
    ]);
  });
});

describe("Ema", () => {
  let ema: Ema | undefined;
  afterEach(() => ema?.dispose());

  it("averages, and hands the averages out for a while", async () => {
    const point = new Point();
    ema = new Ema(point, 0.5);
    ema.update(1);
    point.loadStateDict(new Map([["at", tensor([3, 0], { dtype: "f64" })]]));
    ema.update(100);
    expect(ema.stateDict().get("at")!.toFlatArray()).toEqual([2, -1]);
    const inside = await ema.withAverages(() => Promise.resolve(point.at.toFlatArray()));
    expect(inside).toEqual([2, -1]);
    expect(point.at.toFlatArray()).toEqual([3, 0]);
    await expect(ema.withAverages(() => Promise.reject(new Error("stop")))).rejects.toThrow("stop");
    expect(point.at.toFlatArray()).toEqual([3, 0]);
  });

  it("weighs early steps less than the decay says", () => {
    const point = new Point();
    ema = new Ema(point, 0.999);
    point.loadStateDict(new Map([["at", tensor([12, 9], { dtype: "f64" })]]));
    ema.update(1);
    const decay = 2 / 11;
    const [x] = ema.stateDict().get("at")!.toFlatArray();
    expect(Math.abs(x! - (decay * 1 + (1 - decay) * 12))).toBeLessThan(1e-12);
  });

  it("averages batch statistics like parameters, takes counts as they are, and gives all back", async () => {
    const norm = new BatchNorm1d(2, { momentum: 0.5, dtype: "f64" });
    ema = new Ema(norm, 0.75);
    const own = (): number[][] => [...norm.stateDict().values()].map((x) => x.toFlatArray());
    // Means and variances (unbiased) of the batches, by hand.
    norm.forward(tensor([4, 0, 8, 0], { shape: [2, 2], dtype: "f64" }));
    ema.update(1000);
    norm.forward(tensor([0, 2, 0, 2], { shape: [2, 2], dtype: "f64" }));
    ema.update(1001);
    const expected = {
      running_mean: [0.75 * (0.25 * 3) + 0.25 * 1.5, 0.25 * 1],
      running_var: [0.75 * (0.75 * 1 + 0.25 * 4.5) + 0.25 * 2.25, 0.75 * (0.75 * 1 + 0.25 * 0.5) + 0.25 * 0.25],
      num_batches_tracked: [2],
    };
    const averages = ema.stateDict();
    expect([...averages.keys()]).toEqual([...norm.stateDict().keys()]);
    for (const [name, values] of Object.entries(expected)) {
      const found = averages.get(name)!.toFlatArray();
      found.forEach((value, i) => expect(Math.abs(value - values[i]!), name).toBeLessThan(1e-12));
      expect(found).toHaveLength(values.length);
    }
    const before = own();
    const inside = await ema.withAverages(() => Promise.resolve(norm.runningMean.toFlatArray()));
    expect(inside).toEqual(averages.get("running_mean")!.toFlatArray());
    expect(own()).toEqual(before);
    norm.dispose();
  });
});

describe("cosineWithWarmup", () => {
  it("rises, then falls with the budget", () => {
    const schedule = cosineWithWarmup({ peak: 2, warmupSteps: 10, finalFraction: 0.1 });
    expect(schedule(0, 0)).toBeCloseTo(0.2, 12);
    expect(schedule(9, 0)).toBe(2);
    expect(schedule(500, 0.5)).toBeCloseTo(1.1, 12);
    expect(schedule(500, 1)).toBeCloseTo(0.2, 12);
    expect(schedule(500, 1.5)).toBeCloseTo(0.2, 12);
    expect(cosineWithWarmup({ peak: 1, warmupSteps: 0 })(0, 0)).toBe(1);
  });
});
