import { afterEach, describe, expect, it } from "vitest";
import { native } from "@md/native";
import * as md from "../src/index.js";

const moments = (values: number[]): { mean: number; variance: number } => {
  const mean = values.reduce((total, value) => total + value, 0) / values.length;
  return { mean, variance: values.reduce((total, value) => total + (value - mean) ** 2, 0) / values.length };
};

describe("random", () => {
  const threads = native.getNumThreads();
  afterEach(() => native.setNumThreads(threads));

  it("draws the same bits from the same state, whatever the number of threads", () => {
    const draw = (count: number): number[] => {
      native.setNumThreads(count);
      const generator = new md.Generator(42);
      return [
        ...md.randn([10_001], { generator }).toFlatArray(),
        ...md.rand([10_001], { generator, dtype: "f64" }).toFlatArray(),
        ...md.randint(-5, 9, [10_001], { generator }).toFlatArray(),
      ];
    };
    expect(draw(1)).toEqual(draw(3));
  });

  it("gives known numbers: they are part of the format of saved runs", () => {
    const generator = new md.Generator(7);
    expect(md.randn([3], { generator }).toFlatArray()).toEqual([
      0.0002915674413088709, -0.30484700202941895, 1.7887572050094604,
    ]);
    expect(generator.state).toEqual({ seed: 7, offset: 1 });
  });

  it("has the moments of its distributions", () => {
    const generator = new md.Generator(1);
    for (const dtype of ["f32", "f64"] as const) {
      const normal = moments(md.randn([200_000], { generator, dtype }).toFlatArray());
      expect(Math.abs(normal.mean)).toBeLessThan(0.01);
      expect(Math.abs(normal.variance - 1)).toBeLessThan(0.02);
      const values = md.rand([200_000], { generator, dtype, low: -1, high: 3 }).toFlatArray();
      const uniform = moments(values);
      expect(Math.abs(uniform.mean - 1)).toBeLessThan(0.015);
      expect(Math.abs(uniform.variance - 16 / 12)).toBeLessThan(0.02);
      expect(values.every((value) => value >= -1 && value < 3)).toBe(true);
    }
    const integers = md.randint(0, 5, [50_000], { generator }).toFlatArray();
    for (let value = 0; value < 5; value++) {
      expect(Math.abs(integers.filter((drawn) => drawn === value).length - 10_000)).toBeLessThan(500);
    }
    const kept = moments(md.bernoulli([50_000], 0.3, { generator }).toFlatArray());
    expect(Math.abs(kept.mean - 0.3)).toBeLessThan(0.01);
  });

  it("restores a saved state and forks by name", () => {
    const generator = new md.Generator(3);
    md.rand([5], { generator });
    const { state } = generator;
    const next = md.randn([6], { generator }).toFlatArray();
    generator.state = state;
    expect(md.randn([6], { generator }).toFlatArray()).toEqual(next);

    const fork = (name: string | number): number[] => md.randn([4], { generator: generator.fork(name) }).toFlatArray();
    expect(fork("noise")).toEqual(fork("noise"));
    const streams = [
      fork("noise"),
      fork("dropout"),
      fork(0),
      fork(1),
      md.randn([4], { generator: new md.Generator(3) }).toFlatArray(),
    ];
    expect(new Set(streams.map(String)).size).toBe(streams.length);
  });

  it("replays dropout in the gradient", () => {
    md.scope(() => {
      const x = md.ones([1000], { requiresGrad: true });
      const y = md.dropout(x, 0.4, new md.Generator(5));
      md.sum(y).backward();
      expect(x.grad!.toFlatArray()).toEqual(y.toFlatArray());
      expect(md.dropout(x, 0, new md.Generator(5))).toBe(x);
    });
  });

  it("names what is wrong with its arguments", () => {
    const generator = new md.Generator(0);
    expect(() => new md.Generator(-1)).toThrow(md.ValueError);
    expect(() => new md.Generator(0.5)).toThrow(/seed is 0.5/);
    expect(() => md.rand([2], { generator, low: 1, high: 1 })).toThrow(/\[rand\] low is 1/);
    expect(() => md.randint(0, 0.5, [2], { generator })).toThrow(/high is 0.5/);
    expect(() => md.bernoulli([2], 1.5, { generator })).toThrow(/probability is 1.5/);
    expect(() => md.dropout(md.ones([2]), 1, generator)).toThrow(/p is 1/);
    expect(() => md.randn([2], { generator, dtype: "i32" })).toThrow(md.DTypeError);
  });
});
