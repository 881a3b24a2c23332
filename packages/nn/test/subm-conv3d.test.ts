import {
  compareNumbers,
  Generator,
  type NeighbourKernelSize,
  tensor,
  type Tensor,
  ValueError,
  VoxelHash,
} from "@md/tensor";
import { describe, expect, it } from "vitest";
import { Parameter, SubMConv3d } from "../src/index.js";
import { checkGradients, random } from "./parameter-gradients.js";

const hashOf = (sites: number[][]): VoxelHash =>
  VoxelHash.build(tensor(sites, { dtype: "f64" }), tensor(new Int32Array(sites.length)), { voxelSize: 1 });

describe("SubMConv3d", () => {
  it.each([1, 4, 7])("refuses kernels of %i, which no map has", (size) => {
    const make = (): unknown => new SubMConv3d(2, 3, size as NeighbourKernelSize, { generator: new Generator(2) });
    expect(make).toThrow(ValueError);
    expect(make).toThrow(`[SubMConv3d] kernelSize is ${size}, expected 3 or 5`);
  });

  it("sums weight · x over the occupied neighbours, plus bias", () => {
    const layer = new SubMConv3d(2, 3, 3, { generator: new Generator(2), dtype: "f64" });
    expect([...layer.stateDict()].map(([name, { shape }]) => [name, shape])).toEqual([
      ["weight", [3, 3, 3, 3, 2]],
      ["bias", [3]],
    ]);
    // In the order of their keys; only the first two are neighbours.
    const map = hashOf([
      [0, 0, 0],
      [1, 0, -1],
      [5, 5, 5],
    ]).neighbourMap(3);
    const x = new Parameter(random([3, 2]));
    const [values, weight, bias] = [x, layer.weight, layer.bias!].map((each) => each.toFlatArray()) as [
      number[],
      number[],
      number[],
    ];
    const term = (out: number, kx: number, ky: number, kz: number, row: number): number => {
      const first = (27 * out + 9 * kx + 3 * ky + kz) * 2;
      return weight[first]! * values[2 * row]! + weight[first + 1]! * values[2 * row + 1]!;
    };
    const outputs = [0, 1, 2];
    const expected = [
      ...outputs.map((o) => bias[o]! + term(o, 1, 1, 1, 0) + term(o, 2, 1, 0, 1)),
      ...outputs.map((o) => bias[o]! + term(o, 1, 1, 1, 1) + term(o, 0, 1, 2, 0)),
      ...outputs.map((o) => bias[o]! + term(o, 1, 1, 1, 2)),
    ];
    compareNumbers("output", layer.forward(map, x).toFlatArray(), expected, 1e-12);
    checkGradients(new Map<string, Tensor>([...layer.namedParameters(), ["x", x]]), () => layer.forward(map, x));
  });

  it("starts within ±1/√fanIn", () => {
    const layer = new SubMConv3d(4, 64, 5, { generator: new Generator(2) });
    const bound = 1 / Math.sqrt(500);
    for (const parameter of layer.parameters()) {
      const largest = Math.max(...parameter.toFlatArray().map(Math.abs));
      expect(largest).toBeLessThanOrEqual(bound);
      expect(largest).toBeGreaterThan(0.95 * bound);
    }
    expect(new SubMConv3d(1, 1, 3, { generator: new Generator(2), bias: false }).stateDict().size).toBe(1);
  });

  it("refuses a map of another kernel size, and other voxels", () => {
    const layer = new SubMConv3d(2, 3, 3, { generator: new Generator(2) });
    const hash = hashOf([[0, 0, 0]]);
    expect(() => layer.forward(hash.neighbourMap(5), tensor([[1, 2]]))).toThrow(
      /weight has shape \[3,3,3,3,2\], expected \[out,5,5,5,in\]/,
    );
    expect(() =>
      layer.forward(
        hash.neighbourMap(3),
        tensor([
          [1, 2],
          [3, 4],
        ]),
      ),
    ).toThrow(/x has shape \[2,2\], expected \[1,in\]/);
    expect(() => layer.forward(hash.neighbourMap(3), tensor([[1, 2, 3]]))).toThrow(
      /\[submConv3d\] x has shape \[1,3\]/,
    );
  });
});
