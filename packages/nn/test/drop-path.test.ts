import { Generator, gradcheck, ones, type Tensor, ValueError } from "@md/tensor";
import { describe, expect, it } from "vitest";
import { DropPath, Parameter } from "../src/index.js";
import { random } from "./parameter-gradients.js";
import { f64 } from "./point-scenes.js";

const make = (p: number, seed = 6): DropPath => new DropPath(p, { generator: new Generator(seed) });

describe("DropPath", () => {
  it("is x itself in evaluation, and where p is 0", () => {
    const x = random([5, 3]);
    expect(make(0.5).eval().forward(x)).toBe(x);
    expect(make(0).forward(x)).toBe(x);
    expect(make(0.5).parameters()).toEqual([]);
  });

  it.each([
    [[20000], 1],
    [[20000, 3], 3],
    [[20000, 2, 2], 4],
  ])("drops whole rows of %j, and keeps the mean", (shape, width) => {
    const p = 0.3;
    const output = make(p).forward(ones(shape, f64));
    expect(output.shape).toEqual(shape);
    const values = output.toFlatArray();
    const rows = Array.from({ length: 20000 }, (_, row) => values.slice(row * width, (row + 1) * width));
    expect(rows.every((row) => row.every((value) => value === row[0]))).toBe(true);
    expect(new Set(values)).toEqual(new Set([0, 1 / (1 - p)]));
    const dropped = rows.filter((row) => row[0] === 0).length / rows.length;
    // Four standard deviations.
    expect(Math.abs(dropped - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / rows.length));
    expect(Math.abs(values.reduce((a, b) => a + b) / values.length - 1)).toBeLessThan(0.02);
  });

  it("draws anew each time, and the same from the same seed", () => {
    const x = ones([64, 2]);
    const draw = (layer: DropPath): number[][] => [layer.forward(x).toFlatArray(), layer.forward(x).toFlatArray()];
    const first = draw(make(0.5));
    expect(first[0]).not.toEqual(first[1]);
    expect(draw(make(0.5))).toEqual(first);
    expect(draw(make(0.5, 7))).not.toEqual(first);
  });

  it("has gradients, f32 and f64", () => {
    const x = new Parameter(random([8, 3]));
    gradcheck((input) => make(0.4).forward(input), [x]);
    const f32: Tensor = make(0.4).forward(x.to("f32"));
    expect(f32.dtype).toBe("f32");
  });

  it.each([-0.1, 1, 2, NaN])("refuses p of %d", (p) => {
    expect(() => make(p)).toThrow(ValueError);
    expect(() => make(p)).toThrow(`[DropPath] p is ${p}, expected 0 <= p < 1`);
  });
});
