import {
  type Curve,
  curves,
  DTypeError,
  localKernelQuery,
  memory,
  scope,
  ShapeError,
  submConv3d,
  sum,
  tensor,
  type Tensor,
  ValueError,
  zeros,
} from "@md/tensor";
import { describe, expect, it } from "vitest";
import { Parameter, PointCloud } from "../src/index.js";
import { checkGradients, random } from "./parameter-gradients.js";
import { type Cell, cellsOf, cloudOf, f64, itemsOf, makeScene, near, rowAt, type Scene } from "./point-scenes.js";

/** Means of the rows of x in each cell. */
function meansOf(cells: readonly Cell[], x: Tensor): Tensor {
  const [values, channels] = [x.toFlatArray(), x.shape[1]!];
  const means = cells.flatMap(({ rows }) =>
    Array.from({ length: channels }, (_, c) =>
      rows.reduce((total, row) => total + values[row * channels + c]! / rows.length, 0),
    ),
  );
  return tensor(means, { shape: [cells.length, channels], ...f64 });
}

const cellsOfLevel = (cloud: PointCloud, stride = 1): Cell[] =>
  cellsOf(cloud.grid.toFlatArray(), cloud.batch.toFlatArray(), stride);

/** Holds a level against its cells. */
function checkLevel(cloud: PointCloud, cells: readonly Cell[], items: number): void {
  expect(cloud.size).toBe(cells.length);
  expect(cloud.grid.toFlatArray()).toEqual(cells.flatMap(({ at }) => at));
  expect(cloud.batch.toFlatArray()).toEqual(cells.map(({ item }) => item));
  const counts = Array.from({ length: items }, (_, item) => cells.filter((cell) => cell.item === item).length);
  expect(cloud.items).toBe(items);
  expect(cloud.counts).toEqual(counts);
  expect([...cloud.offsets]).toEqual([0, ...counts.map((_, i) => counts.slice(0, i + 1).reduce((a, b) => a + b))]);
  const rows = cells.flatMap((cell, row) => cell.rows.map((from) => [from, row]));
  expect(cloud.hash.voxelOfPoint.toFlatArray()).toEqual(rows.sort((a, b) => a[0]! - b[0]!).map(([, row]) => row));
}

// 60 points in 4³ cells: most cells hold several.
const crowded = makeScene([60, 7, 1, 30], 4);

describe("PointCloud", () => {
  it("has a row for each occupied cell, by item, x, y, z, with the mean of its points", () => {
    const cells = cellsOf(crowded.grid, itemsOf(crowded));
    expect(cells.some(({ rows }) => rows.length > 2)).toBe(true);
    const cloud = cloudOf(crowded);
    checkLevel(cloud, cells, 4);
    near(cloud.coordinates, meansOf(cells, crowded.coordinates));
    const features = new Parameter(random([98, 3], 8));
    near(cloud.mean(features), meansOf(cells, features));
    checkGradients(new Map([["features", features]]), () => cloud.mean(features));
    const coordinates = new Parameter(crowded.coordinates);
    checkGradients(new Map([["coordinates", coordinates]]), () => {
      const moved = PointCloud.build({ ...crowded, coordinates });
      return moved.coordinates.narrow(0, 0, 10).add(sum(moved.pool(2).coordinates.mul(0.3)));
    });
  });

  it.each([2, 4, 8])("pools cells of %i³", (stride) => {
    const scene = makeScene([60, 7, 1, 30], 16);
    const cloud = cloudOf(scene);
    const coarser = cloud.pool(stride);
    const cells = cellsOfLevel(cloud, stride);
    checkLevel(coarser, cells, 4);
    near(coarser.coordinates, meansOf(cells, cloud.coordinates));
    const [fine, coarse] = [cloud.grid.toFlatArray(), coarser.grid.toFlatArray()];
    coarser.hash.voxelOfPoint.toFlatArray().forEach((row, i) => {
      const shifted = fine.slice(3 * i, 3 * i + 3).map((cell) => cell >> Math.log2(stride));
      expect(coarse.slice(3 * row, 3 * row + 3)).toEqual(shifted);
    });
    expect(coarser.depth).toBe(16 - Math.log2(stride));
    const x = random([cloud.size, 2], 9);
    near(coarser.mean(x), meansOf(cells, x));
    checkLevel(coarser.pool(2), cellsOfLevel(coarser, 2), 4);
    expect(coarser.pool(2).grid.toFlatArray()).toEqual(cloud.pool(2 * stride).grid.toFlatArray());
  });

  it("pools down to a single cell", () => {
    const one = cloudOf(makeScene([20, 3], 65536)).pool(65536);
    expect([one.size, one.depth, ...one.grid.toFlatArray()]).toEqual([2, 0, 0, 0, 0, 0, 0, 0]);
    for (const curve of curves) expect(one.order(curve).order.toFlatArray()).toEqual([0, 1]);
    expect(() => one.pool(2)).toThrow(ValueError);
  });

  it.each([0, 1, 3, -2, 2.5, NaN, 2 ** 17])("refuses a stride of %d", (stride) => {
    expect(() => cloudOf(crowded).pool(stride)).toThrow(ValueError);
    expect(() => cloudOf(crowded).pool(stride)).toThrow(`stride is ${stride}, expected a power of two from 2 to 65536`);
  });

  it("orders the rows of each item along a curve", () => {
    const cloud = cloudOf(makeScene([60, 7, 1, 30], 40)).pool(2);
    const grid = cloud.grid.toFlatArray();
    const morton = (row: number, axes: readonly number[]): number => {
      let code = 0;
      for (let bit = 15; bit >= 0; bit--) {
        for (const axis of axes) code = 2 * code + ((grid[3 * row + axis]! >> bit) & 1);
      }
      return code;
    };
    const rows = Array.from({ length: cloud.size }, (_, row) => row);
    const batch = cloud.batch.toFlatArray();
    for (const [curve, axes] of [
      ["z", [0, 1, 2]],
      ["z-trans", [1, 0, 2]],
    ] as const) {
      const expected = rows.toSorted((a, b) => batch[a]! - batch[b]! || morton(a, axes) - morton(b, axes));
      expect(cloud.order(curve).order.toFlatArray()).toEqual(expected);
    }
    const seen = new Set<string>();
    for (const curve of curves) {
      const [order, inverse] = [cloud.order(curve).order.toFlatArray(), cloud.order(curve).inverse.toFlatArray()];
      expect(order.toSorted((a, b) => a - b)).toEqual(rows);
      expect(order.map((row) => inverse[row])).toEqual(rows);
      expect(order.map((row) => batch[row])).toEqual(batch);
      seen.add(String(order));
    }
    expect(seen.size).toBe(4);
    expect(() => cloud.order("peano" as Curve)).toThrow(ValueError);
  });

  it("makes what layers share once", () => {
    const cloud = cloudOf(crowded);
    expect(cloud.pool(2)).toBe(cloud.pool(2));
    expect(cloud.pool(2)).not.toBe(cloud.pool(4));
    expect(cloud.order("z")).toBe(cloud.order("z"));
    expect(cloud.order("z")).not.toBe(cloud.order("hilbert"));
    expect(cloud.neighbourMap(3)).toBe(cloud.neighbourMap(3));
    expect(cloud.neighbourMap(5)).not.toBe(cloud.neighbourMap(3));
    expect(cloud.patches(5, "item")).toBe(cloud.patches(5, "item"));
    expect(cloud.patches(5, "batch")).not.toBe(cloud.patches(5, "item"));
    expect(cloud.patches(6, "item")).not.toBe(cloud.patches(5, "item"));
  });

  it("makes anew what a scope has freed", () => {
    const cloud = cloudOf(crowded);
    const use = (): number[] =>
      scope(() => [
        ...cloud.order("z").order.toFlatArray(),
        ...cloud.patches(5, "item").keys!.toFlatArray(),
        ...cloud.neighbourMap(3).inputs.toFlatArray(),
        ...cloud.pool(2).pool(2).coordinates.toFlatArray(),
        ...cloud.pool(2).neighbourMap(5).starts.toFlatArray(),
      ]);
    const first = use();
    const before = memory().liveTensors;
    expect(use()).toEqual(first);
    expect(memory().liveTensors).toBe(before);
    // A part that outlives the scope does not stand for the rest.
    const kept = scope(() => [cloud.order("z").order, cloud.neighbourMap(3).starts, cloud.pool(2).grid]);
    expect(kept.some(({ disposed }) => disposed)).toBe(false);
    expect(use()).toEqual(first);
    expect(cloud.order("z").inverse.size).toBe(cloud.pool(2).hash.voxelOfPoint.toFlatArray().length);
    const outer = cloud.order("z");
    expect(use()).toEqual(first);
    expect(cloud.order("z")).toBe(outer);
  });

  it("leaves nothing behind a scope", () => {
    const live = Array.from({ length: 20 }, () => {
      scope(() => {
        const cloud = cloudOf(makeScene([60, 7], 16));
        for (const level of [cloud, cloud.pool(2), cloud.pool(2).pool(4)]) {
          curves.forEach((curve) => level.order(curve));
          level.neighbourMap(3);
          level.patches(4, "item");
          level.lookup(zeros([2, 3], f64), tensor(Int32Array.from([0, 1])));
        }
      });
      return memory().liveTensors;
    });
    expect(live).toEqual(new Array<number>(20).fill(live[0]!));
  });

  it("takes a single point, and points that are all in one cell", () => {
    const point = PointCloud.build({
      grid: Int32Array.from([65535, 0, 65535]),
      coordinates: tensor([[1, 2, 3]]),
      counts: [1],
    });
    expect([point.size, ...point.coordinates.toFlatArray()]).toEqual([1, 1, 2, 3]);
    expect(point.pool(2).grid.toFlatArray()).toEqual([32767, 0, 32767]);
    const stacked: Scene = { grid: new Int32Array(15).fill(7), counts: [3, 2], coordinates: random([5, 3]) };
    const cloud = cloudOf(stacked);
    expect([...cloud.offsets]).toEqual([0, 1, 2]);
    near(cloud.coordinates, meansOf(cellsOf(stacked.grid, itemsOf(stacked)), stacked.coordinates));
    expect([...cloud.patches(120, "item").cuSeqlensK]).toEqual([0, 1, 2]);
  });
});

describe("queries of a PointCloud", () => {
  const fine = cloudOf(makeScene([60, 7, 1, 30], 12));
  const levels = [fine, fine.pool(2), fine.pool(2).pool(4), fine.pool(8)];
  const offsets = (reach: number): number[][] => {
    const steps = Array.from({ length: 2 * reach + 1 }, (_, i) => i - reach);
    return steps.flatMap((x) => steps.flatMap((y) => steps.map((z) => [x, y, z])));
  };
  const around = (at: readonly number[], by: readonly number[]): number[] => at.map((cell, axis) => cell + by[axis]!);

  /** out[i] = Σ over offsets of weight[offset] · x[row at the offset], in plain numbers; of 1 channel each. */
  function gathered(
    cloud: PointCloud,
    queries: readonly Omit<Cell, "rows">[],
    reach: number,
    x: Tensor,
    weight: Tensor,
  ): number[] {
    const cells = cellsOfLevel(cloud);
    const [values, weights] = [x.toFlatArray(), weight.toFlatArray()];
    return queries.map(({ item, at }) =>
      offsets(reach).reduce((total, by, k) => {
        const row = rowAt(cells, item, around(at, by));
        return row < 0 ? total : total + weights[k]! * values[row]!;
      }, 0),
    );
  }

  it.each([0, 1, 2, 3])("maps the neighbours of each row of level %i", (level) => {
    const cloud = levels[level]!;
    for (const kernelSize of [3, 5] as const) {
      const [x, weight] = [random([cloud.size, 1], 7), random([1, kernelSize, kernelSize, kernelSize, 1], 8)];
      const expected = gathered(cloud, cellsOfLevel(cloud), (kernelSize - 1) / 2, x, weight);
      near(submConv3d(cloud.neighbourMap(kernelSize), x, weight), tensor(expected, { shape: [cloud.size, 1], ...f64 }));
    }
  });

  /** Queries near every row, at the grid's borders and far outside; of the row's item, its neighbours and one too many. */
  function queriesOf(cloud: PointCloud): { at: Tensor; item: Tensor; places: Omit<Cell, "rows">[] } {
    const jitter = random([cloud.size, 3], 12).mul(1.5).add(0.5);
    const outside = [-0.5, 0, 0, 0, -1e-9, 2, 65535.5, 3, 3, 3, 70000, 3, 3, 3, -1e12, 1e30, 0, 0];
    const values = [...jitter.add(cloud.grid.to("f64")).toFlatArray(), ...outside];
    const shift = (row: number): number => (row % 3 === 0 ? 1 : 0);
    const items = [...cloud.batch.toFlatArray().map((item, row) => item + shift(row)), 0, 0, 0, 0, 0, 0];
    const places = items.map((item, i) => ({ item, at: values.slice(3 * i, 3 * i + 3).map(Math.floor) as Cell["at"] }));
    return { at: tensor(values, { shape: [items.length, 3], ...f64 }), item: tensor(Int32Array.from(items)), places };
  }

  it.each([0, 1, 2, 3])("looks up rows of level %i, -1 where a cell is empty or outside", (level) => {
    const cloud = levels[level]!;
    const { at, item, places } = queriesOf(cloud);
    const cells = cellsOfLevel(cloud);
    const expected = places.map(({ item, at }) => rowAt(cells, item, at));
    expect(expected.some((row) => row >= 0)).toBe(true);
    expect(expected.slice(0, -6)).toContain(-1);
    expect(expected.slice(-6)).toEqual(new Array<number>(6).fill(-1));
    expect(cloud.lookup(at, item).toFlatArray()).toEqual(expected);
  });

  it.each([0, 1, 2, 3])("gathers the 27 cells around queries of level %i", (level) => {
    const cloud = levels[level]!;
    const { at, item, places } = queriesOf(cloud);
    const [x, weight] = [random([cloud.size, 1], 7), random([27, 1, 1], 8)];
    const expected = gathered(cloud, places, 1, x, weight);
    expect(expected.filter((value) => value === 0).length).toBeGreaterThan(3);
    near(
      localKernelQuery(cloud.localKernelMap(at, item), x, weight),
      tensor(expected, { shape: [places.length, 1], ...f64 }),
    );
  });

  it("refuses queries that are not finite, or of another dtype than the coordinates", () => {
    const one = tensor(Int32Array.from([0]));
    expect(() => fine.lookup(tensor([[0, NaN, 0]], f64), one)).toThrow(ValueError);
    expect(() => fine.localKernelMap(tensor([[0, 0, 0]]), one)).toThrow(DTypeError);
  });
});

describe("PointCloud.build refuses", () => {
  const build = (change: Partial<Scene>): (() => PointCloud) => {
    const scene = { grid: new Int32Array(9), counts: [2, 1], coordinates: random([3, 3]), ...change };
    return () => cloudOf(scene);
  };
  it.each([
    [65536, 4, "point 1 has y = 65536"],
    [-1, 8, "point 2 has z = -1"],
    [2 ** 31 - 1, 0, "point 0 has x = 2147483647"],
  ])("a cell of %i", (cell, index, message) => {
    const grid = new Int32Array(9);
    grid[index] = cell;
    expect(build({ grid })).toThrow(ValueError);
    expect(build({ grid })).toThrow(`[PointCloud] grid: ${message}, expected 0 to 65535`);
    grid[index] = 65535;
    expect(build({ grid })().size).toBeGreaterThan(1);
  });
  it.each([
    [[3, 0], "item 1 has 0 points"],
    [[0, 3], "item 0 has 0 points"],
    [[4, -1], "item 1 has -1 points"],
    [[1.5, 1.5], "item 0 has 1.5 points"],
    [[NaN], "item 0 has NaN points"],
  ])("items of %j points", (counts, message) => {
    expect(build({ counts })).toThrow(ValueError);
    expect(build({ counts })).toThrow(`[PointCloud] ${message}, expected an integer of at least 1`);
  });
  it.each([0, 4097])("%i items", (items) => {
    const counts = Array<number>(items).fill(1);
    expect(build({ counts })).toThrow(ValueError);
    expect(build({ counts })).toThrow(`[PointCloud] counts has ${items} items, expected 1 to 4096`);
  });
  it("lengths that do not fit, and coordinates of integers", () => {
    for (const [change, message] of [
      [{ counts: [2, 2] }, "coordinates has shape [3,3], expected [4,3]"],
      [{ coordinates: random([3, 2]) }, "coordinates has shape [3,2], expected [3,3]"],
      [{ coordinates: random([9]) }, "coordinates has shape [9], expected [3,3]"],
      [{ grid: new Int32Array(8) }, "grid has 8 numbers, expected 9"],
      [{ grid: new Int32Array(12) }, "grid has 12 numbers, expected 9"],
    ] as const) {
      expect(build(change as Partial<Scene>)).toThrow(ShapeError);
      expect(build(change as Partial<Scene>)).toThrow(`[PointCloud] ${message}`);
    }
    for (const coordinates of [tensor(new Int32Array(9), { shape: [3, 3] }), random([3, 3]).to("bf16")]) {
      expect(build({ coordinates })).toThrow(DTypeError);
      expect(build({ coordinates })).toThrow("[PointCloud] coordinates has dtype");
    }
  });
});
