import { compareNumbers, Generator, tensor } from "@md/tensor";
import { describe, expect, it } from "vitest";
import { Conv2d, Parameter } from "../src/index.js";
import { checkGradients, random } from "./parameter-gradients.js";

describe("Conv2d", () => {
  it("sums weight · x over kernel and channels, plus bias", () => {
    const options = { stride: [2, 1], padding: [1, 0], dilation: [1, 2], groups: 2 } as const;
    const layer = new Conv2d(4, 6, [3, 2], { generator: new Generator(2), dtype: "f64", ...options });
    expect([...layer.stateDict()].map(([name, { shape }]) => [name, shape])).toEqual([
      ["weight", [6, 2, 3, 2]],
      ["bias", [6]],
    ]);
    const [height, width] = [5, 6];
    const x = new Parameter(random([2, 4, height, width]));
    const [values, weight, bias] = [x, layer.weight, layer.bias!].map((each) => each.toFlatArray());
    const expected: number[] = [];
    for (let item = 0; item < 2; item++)
      for (let out = 0; out < 6; out++)
        for (let row = 0; row < 3; row++)
          for (let column = 0; column < 4; column++) {
            let total = bias![out]!;
            for (let input = 0; input < 2; input++)
              for (let ky = 0; ky < 3; ky++)
                for (let kx = 0; kx < 2; kx++) {
                  const y = row * 2 - 1 + ky;
                  if (y < 0 || y >= height) continue;
                  const channel = item * 4 + Math.floor(out / 3) * 2 + input;
                  total +=
                    weight![((out * 2 + input) * 3 + ky) * 2 + kx]! *
                    values![(channel * height + y) * width + column + 2 * kx]!;
                }
            expected.push(total);
          }
    expect(layer.forward(x).shape).toEqual([2, 6, 3, 4]);
    compareNumbers("output", layer.forward(x).toFlatArray(), expected, 1e-12);
    checkGradients(new Map([...layer.namedParameters(), ["x", x]]), () => layer.forward(x));
  });

  it("starts within ±1/√fanIn", () => {
    const layer = new Conv2d(4, 64, 3, { generator: new Generator(2) });
    for (const parameter of layer.parameters()) {
      const largest = Math.max(...parameter.toFlatArray().map(Math.abs));
      expect(largest).toBeLessThanOrEqual(1 / 6);
      expect(largest).toBeGreaterThan(0.95 / 6);
    }
    expect(new Conv2d(1, 1, 1, { generator: new Generator(2), bias: false }).stateDict().size).toBe(1);
  });

  it("refuses groups that do not divide the channels, and other shapes", () => {
    expect(() => new Conv2d(4, 6, 3, { generator: new Generator(2), groups: 3 })).toThrow(
      /4 and 6 channels .* 3 groups/,
    );
    const layer = new Conv2d(4, 6, 3, { generator: new Generator(2) });
    expect(() => layer.forward(tensor([[1, 2]]))).toThrow(/\[conv2d\]/);
  });
});
