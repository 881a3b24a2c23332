import { DTypeError } from "@md/native";
import { describe, expect, it } from "vitest";
import {
  localKernelMap,
  localKernelQuery,
  memory,
  mulberry32,
  scope,
  tensor,
  type Tensor,
  ValueError,
  VoxelHash,
  type VoxelOptions,
} from "../src/index.js";

const cloud = (rows: number[][], dtype: "f32" | "f64" = "f32"): Tensor =>
  tensor(rows.flat(), { shape: [rows.length, 3], dtype });
const batchOf = (items: number[]): Tensor => tensor(items, { shape: [items.length], dtype: "i32" });
const uniform = (count: number, seed: number): number[] => {
  const random = mulberry32(seed);
  return Array.from({ length: count }, () => random() * 2 - 1);
};

describe("VoxelHash", () => {
  it("bins by floor, orders by (batch, x, y, z) and groups duplicates", () => {
    scope(() => {
      const points = cloud([
        [-0.1, 0, 0],
        [0.1, 0, 0],
        [-0.2, 0, 0],
        [0.1, 0, 0],
      ]);
      const hash = VoxelHash.build(points, batchOf([0, 0, 0, 1]), { voxelSize: 1 });
      expect(hash.coordinates.toFlatArray()).toEqual([0, -1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
      expect(hash.voxelOfPoint.toFlatArray()).toEqual([0, 1, 0, 2]);
      expect(hash.pointOrder.toFlatArray()).toEqual([0, 2, 1, 3]);
      const means = hash.mean(tensor([1, 2, 4, 8], { shape: [4, 1] }));
      expect(means.toFlatArray()).toEqual([2.5, 2, 8]);
    });
  });

  it("does not wrap at the borders of the grid", () => {
    scope(() => {
      const low = -65536;
      const high = 65535;
      const corners = [
        [low, low, low],
        [high, high, high],
        [low, high, low],
        [0, 0, low],
        [0, 1, high],
      ];
      const centre = (rows: number[][]): Tensor => cloud(rows.map((row) => row.map((bin) => bin + 0.5)));
      const hash = VoxelHash.build(centre(corners), batchOf([4095, 4095, 4095, 0, 0]), { voxelSize: 1 });
      const inside = (row: number[]): number => row.filter((voxel) => voxel >= 0).length;
      const rows = hash.neighboursOfVoxels().toFlatArray();
      for (let voxel = 0; voxel < 5; voxel++) expect(inside(rows.slice(27 * voxel, 27 * voxel + 27))).toBe(1);
      const beyond = hash
        .neighbours(
          centre([
            [high + 1, high + 1, high + 1],
            [1e9, -1e9, 0],
          ]),
          batchOf([4095, 4095]),
        )
        .toFlatArray();
      expect(beyond.slice(0, 27).findIndex((voxel) => voxel >= 0)).toBe(0);
      expect(inside(beyond)).toBe(1);
      expect(
        hash
          .lookup(
            centre([
              [high + 1, high, high],
              [high, high, high],
            ]),
            batchOf([4095, 4095]),
          )
          .toFlatArray(),
      ).toEqual([-1, 4]);
    });
  });

  it("names the row of a point that cannot be binned", () => {
    scope(() => {
      const build =
        (rows: number[][], batch: number[], voxelSize = 1): (() => VoxelHash) =>
        () =>
          VoxelHash.build(cloud(rows), batchOf(batch), { voxelSize });
      expect(
        build(
          [
            [0, 0, 0],
            [0, NaN, 0],
          ],
          [0, 0],
        ),
      ).toThrow(/\[voxelHash\] points row 1 is \(0, nan, 0\), expected finite/);
      expect(build([[0, Infinity, 0]], [0])).toThrow(ValueError);
      expect(build([[0, 1e9, 0]], [0])).toThrow(/row 0 .* expected voxel coordinates from -65536 to 65535/);
      expect(build([[0, 0, 0]], [-1])).toThrow(/row 0 has batch index -1, expected 0 to 4095/);
      expect(build([[0, 0, 0]], [0], 0)).toThrow(/voxelSize is 0, expected a positive/);
      expect(build([[0, 0, 0]], [0, 0])).toThrow(/pointBatch has shape \[2\], expected \[1\]/);
      const options = (given: object) => () => VoxelHash.build(cloud([[0, 0, 0]]), batchOf([0]), given as VoxelOptions);
      expect(options({})).toThrow(/\[voxelHash\] voxelSize is undefined, expected a finite number/);
      expect(options({ voxelSize: 1, origin: [0, 1] })).toThrow(/originZ is undefined/);
      const hash = build([[0, 0, 0]], [0])();
      expect(() => hash.lookup(cloud([[0, 0, NaN]]), batchOf([0]))).toThrow(/\[voxelLookup\] queries row 0/);
      const two = cloud([
        [0, 0, 0],
        [0, -Infinity, 0],
      ]);
      expect(() => hash.localKernelMap(two, batchOf([0, 0]))).toThrow(
        /\[localKernelMap\] queries row 1 is \(0, -inf, 0\), expected finite/,
      );
      for (const dtype of ["i32", "i64"] as const) {
        const batch = tensor([4096, 0], { shape: [2], dtype });
        expect(() => hash.neighbours(two, batch)).toThrow(/\[voxelNeighbours\] queries row 0 has batch index 4096/);
      }
      for (const ask of [hash.neighbours.bind(hash), hash.localKernelMap.bind(hash)]) {
        expect(() => ask(cloud([[0, 0, 0]], "f64"), batchOf([0]))).toThrow(DTypeError);
      }
    });
  });

  it("outlives its scope when kept, and leaves nothing when disposed", () => {
    const before = memory().liveTensors;
    const hash = scope(() => VoxelHash.build(cloud([[0, 0, 0]]), batchOf([0]), { voxelSize: 1 }).keep());
    expect(hash.size).toBe(1);
    hash.dispose();
    expect(memory().liveTensors).toBe(before);
  });
});

describe("localKernelQuery", () => {
  it("gives a query the same bits whatever the other queries are", () => {
    scope(() => {
      const points = tensor(uniform(300, 1), { shape: [100, 3] });
      const hash = VoxelHash.build(points, batchOf(Array(100).fill(0)), { voxelSize: 0.5 });
      const means = hash.mean(tensor(uniform(1900, 2), { shape: [100, 19] }));
      const weight = tensor(uniform(27 * 21 * 19, 3), { shape: [27, 21, 19] });
      const queries = uniform(3 * 40, 4);
      const run = (flat: number[]): number[] => {
        const map = hash.localKernelMap(
          tensor(flat, { shape: [flat.length / 3, 3] }),
          batchOf(Array(flat.length / 3).fill(0)),
        );
        return localKernelQuery(map, means, weight).toFlatArray();
      };
      const all = run(queries);
      for (const count of [1, 2, 5, 7, 13]) expect(run(queries.slice(0, 3 * count))).toEqual(all.slice(0, 21 * count));
    });
  });

  it("maps queries to the same pairs as their neighbours do, of several blocks and while others are queued", () => {
    scope(() => {
      const hash = VoxelHash.build(tensor(uniform(3000, 7), { shape: [1000, 3] }), batchOf(Array(1000).fill(0)), {
        voxelSize: 0.2,
      });
      // Queries and their items that are still being computed when the map is asked for.
      const queries = tensor(uniform(3 * 700, 8), { shape: [3, 700] })
        .mul(1.1)
        .transpose(0, 1);
      const items = tensor(Array(700).fill(3), { shape: [700], dtype: "i32" }).mul(0);
      const map = hash.localKernelMap(queries, items);
      const expected = localKernelMap(hash.neighbours(queries, items), hash.size);
      const count = expected.inputs.size;
      expect(count).toBeGreaterThan(1000);
      expect(map.starts.toFlatArray()).toEqual(expected.starts.toFlatArray());
      expect(map.inputs.toFlatArray().slice(0, count)).toEqual(expected.inputs.toFlatArray());
      expect(map.outputs.toFlatArray().slice(0, count)).toEqual(expected.outputs.toFlatArray());
    });
  });

  it("refuses a map of other voxels", () => {
    scope(() => {
      const neighbours = tensor([0, 3, -1], { shape: [1, 3], dtype: "i32" });
      expect(() => localKernelMap(neighbours, 3)).toThrow(/neighbours holds an index outside -1 to 2/);
      for (const wrong of [-5, NaN, 1.5])
        expect(() => localKernelMap(neighbours, wrong)).toThrow(`found ${wrong} voxels`);
      const map = localKernelMap(neighbours, 4);
      const weight = tensor(uniform(12, 5), { shape: [3, 2, 2] });
      expect(() => localKernelQuery(map, tensor(uniform(4, 6), { shape: [2, 2] }), weight)).toThrow(
        /means has shape \[2,2\], expected \[4,in\]/,
      );
      const other = tensor(uniform(8, 5), { shape: [2, 2, 2] });
      expect(() => localKernelQuery(map, tensor(uniform(8, 6), { shape: [4, 2] }), other)).toThrow(
        "weight has shape [2,2,2], expected [3,out,in] for the offsets of the map",
      );
    });
  });
});
