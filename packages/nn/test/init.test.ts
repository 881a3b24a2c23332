import { Generator, type Tensor, zeros } from "@md/tensor";
import { describe, expect, it } from "vitest";
import { init, Parameter } from "../src/index.js";

const generator = (): Generator => new Generator(21);
const blank = (shape = [80, 120]): Tensor => zeros(shape);

function moments(x: Tensor): { mean: number; std: number; min: number; max: number } {
  const values = x.toFlatArray();
  const mean = values.reduce((total, value) => total + value, 0) / values.length;
  const variance = values.reduce((total, value) => total + (value - mean) ** 2, 0) / values.length;
  return { mean, std: Math.sqrt(variance), min: Math.min(...values), max: Math.max(...values) };
}
/** A uniform distribution on ±bound, by its range and spread. */
function expectUniform(x: Tensor, bound: number): void {
  const { mean, std, min, max } = moments(x);
  expect(Math.abs(mean)).toBeLessThan(0.03 * bound);
  expect(std / (bound / Math.sqrt(3))).toBeCloseTo(1, 1);
  expect(min).toBeGreaterThanOrEqual(-bound * 1.000001);
  expect(max).toBeLessThanOrEqual(bound * 1.000001);
  expect(max - min).toBeGreaterThan(1.98 * bound);
}
function expectNormal(x: Tensor, mean: number, std: number): void {
  const found = moments(x);
  expect(Math.abs(found.mean - mean)).toBeLessThan(0.05 * std);
  expect(Math.abs(found.std / std - 1)).toBeLessThan(0.03);
  expect(found.max - mean).toBeGreaterThan(3 * std);
}

describe("init", () => {
  it("fills with constants, in place", () => {
    const x = new Parameter(blank([3]));
    expect(init.ones(x)).toBe(x);
    expect(x.toFlatArray()).toEqual([1, 1, 1]);
    expect(init.constant(x, 2.5).toFlatArray()).toEqual([2.5, 2.5, 2.5]);
    expect(init.zeros(x).toFlatArray()).toEqual([0, 0, 0]);
    expect(x.requiresGrad && x.isLeaf).toBe(true);
  });
  it("draws uniform and normal numbers", () => {
    expectUniform(init.uniform(blank(), { generator: generator(), low: -3, high: 3 }), 3);
    expectNormal(init.normal(blank(), { generator: generator(), mean: 5, std: 2 }), 5, 2);
  });
  it("scales by fan-in and fan-out", () => {
    expectUniform(init.xavierUniform(blank(), { generator: generator(), gain: 2 }), 2 * Math.sqrt(6 / 200));
    expectNormal(init.xavierNormal(blank(), { generator: generator() }), 0, Math.sqrt(2 / 200));
    expectUniform(init.kaimingUniform(blank(), { generator: generator() }), Math.sqrt(6 / 120));
    expectUniform(init.kaimingUniform(blank(), { generator: generator(), a: Math.sqrt(5) }), Math.sqrt(1 / 120));
    expectUniform(init.kaimingUniform(blank([32, 16, 3, 3]), { generator: generator() }), Math.sqrt(6 / (16 * 9)));
    expectUniform(init.xavierUniform(blank([32, 16, 3, 3]), { generator: generator() }), Math.sqrt(6 / (48 * 9)));
    expect(() => init.kaimingUniform(blank([3]), { generator: generator() })).toThrow(/\[init\] shape is \[3\]/);
  });
  it("cuts a normal distribution off", () => {
    const x = init.truncNormal(blank(), { generator: generator(), std: 1 });
    const { std, min, max } = moments(x);
    expect(Math.abs(std - 0.8796)).toBeLessThan(0.02);
    expect(min).toBeGreaterThanOrEqual(-2);
    expect(max).toBeLessThanOrEqual(2);
    expect(max).toBeGreaterThan(1.9);
    const skewed = moments(init.truncNormal(blank(), { generator: generator(), mean: 1, std: 0.5, low: 1, high: 2 }));
    expect(skewed.min).toBeGreaterThanOrEqual(1);
    expect(() => init.truncNormal(blank(), { generator: generator(), low: 5, high: 6 })).toThrow(/at least 0.01/);
    expect(() => init.truncNormal(blank(), { generator: generator(), std: 0 })).toThrow(/at least 0.01/);
  });
  it("gives the same bits for the same seed, and moves the generator on", () => {
    const shared = generator();
    const first = init.normal(blank(), { generator: shared });
    expect(init.normal(blank(), { generator: generator() }).data()).toEqual(first.data());
    expect(init.normal(blank(), { generator: shared }).data()).not.toEqual(first.data());
  });
});
