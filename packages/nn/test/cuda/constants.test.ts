import { cudaInfo, Generator, randn, scope, type Tensor } from "@md/tensor";
import { describe, expect, it } from "vitest";
import { DropPath, normalizeClipImages, timestepEmbedding } from "../../src/index.js";

const device = "cuda:0";

describe.skipIf(cudaInfo().devices.length === 0)("layers that bring constants of their own", () => {
  const drawn = (shape: number[]): Tensor => randn(shape, { generator: new Generator(3) });
  const cases: [name: string, input: () => Tensor, layer: () => (x: Tensor) => Tensor][] = [
    ["timestepEmbedding", () => drawn([5]).mul(100), () => (x) => timestepEmbedding(x, 9)],
    [
      "DropPath",
      () => drawn([7, 3]),
      () => {
        const layer = new DropPath(0.4, { generator: new Generator(1) });
        return (x) => layer.forward(x);
      },
    ],
    ["normalizeClipImages", () => drawn([2, 3, 4, 5]), () => normalizeClipImages],
  ];
  it.each(cases)("%s gives on cuda what it gives on the CPU", (_, input, layer) => {
    scope(() => {
      const x = input();
      const [here, there] = [layer()(x), layer()(x.to(device))];
      expect(there.device).toBe(device);
      const expected = here.data() as Float32Array;
      (there.data() as Float32Array).forEach((value, i) => {
        expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-4);
      });
    });
  });
});
