import { compareNumbers, mulberry32, type Tensor, tensor } from "@md/tensor";
import { expect } from "vitest";
import { type Module, PointCloud } from "../src/index.js";
import { random } from "./parameter-gradients.js";

export const f64 = { dtype: "f64" } as const;

export const near = (actual: Tensor, expected: Tensor, tolerance = 1e-10): void => {
  expect(actual.shape).toEqual(expected.shape);
  compareNumbers("output", actual.toFlatArray(), expected.toFlatArray(), tolerance);
};

export const sameBits = (actual: Tensor, expected: Tensor): void => {
  expect(actual.shape).toEqual(expected.shape);
  expect(actual.data()).toEqual(expected.data());
};

export interface Scene {
  /** [P, 3] */
  grid: Int32Array;
  counts: number[];
  /** f64 [P, 3] */
  coordinates: Tensor;
}

/** Points in random cells below `extent`, most of them alone in theirs; positions have nothing to do with the cells. */
export function makeScene(counts: number[], extent: number, seed = 5): Scene {
  const draw = mulberry32(seed);
  const points = counts.reduce((total, count) => total + count, 0);
  const grid = Int32Array.from({ length: 3 * points }, () => Math.floor(draw() * extent));
  return { grid, counts, coordinates: random([points, 3], seed + 1) };
}

/** A scene without cells in common: row i of item b is a cell of its own. */
export function makeSparseScene(counts: number[], extent: number, seed = 5): Scene {
  const draw = mulberry32(seed);
  const grid = counts.flatMap((count) => {
    const taken = new Set<number>();
    while (taken.size < count) taken.add(Math.floor(draw() * extent ** 3));
    return [...taken].flatMap((cell) => [
      Math.floor(cell / extent ** 2),
      Math.floor(cell / extent) % extent,
      cell % extent,
    ]);
  });
  return { grid: Int32Array.from(grid), counts, coordinates: random([grid.length / 3, 3], seed + 1) };
}

export const cloudOf = (scene: Scene): PointCloud => PointCloud.build(scene);

export interface Cell {
  item: number;
  at: [number, number, number];
  /** Rows that lie in it. */
  rows: number[];
}

/** The occupied cells of rows of the given items, by item, x, y, z. */
export function cellsOf(grid: ArrayLike<number>, items: readonly number[], stride = 1): Cell[] {
  const cells = new Map<string, Cell>();
  items.forEach((item, row) => {
    const at = [0, 1, 2].map((axis) => Math.floor(grid[3 * row + axis]! / stride)) as Cell["at"];
    const key = `${item} ${at}`;
    const cell = cells.get(key);
    if (cell) cell.rows.push(row);
    else cells.set(key, { item, at, rows: [row] });
  });
  const places = ({ item, at }: Cell): number[] => [item, ...at];
  return [...cells.values()].sort((a, b) => {
    const [p, q] = [places(a), places(b)];
    const axis = p.findIndex((value, i) => value !== q[i]);
    return p[axis]! - q[axis]!;
  });
}

export const itemsOf = ({ counts }: { counts: readonly number[] }): number[] =>
  counts.flatMap((count, item) => new Array<number>(count).fill(item));

/** Row of the cell of `item` at a place, -1 where there is none. */
export const rowAt = (cells: readonly Cell[], item: number, at: readonly number[]): number =>
  cells.findIndex((cell) => cell.item === item && String(cell.at) === String(at));

/** Overwrites parameters and statistics, so that none is at a special value such as 0 or 1. */
export function shuffled<M extends Module>(module: M, scale = 1): M {
  const parameters = [...module.namedParameters()].map(([name, { shape }], i): [string, Tensor] => [
    name,
    random(shape, 50 + i).mul(scale),
  ]);
  const statistics = [...module.namedBuffers()]
    .filter(([name]) => name.includes("running"))
    .map(([name, { shape }], i): [string, Tensor] => [
      name,
      random(shape, 900 + i)
        .mul(0.5)
        .add(1),
    ]);
  module.loadStateDict(new Map([...parameters, ...statistics]), { strict: false });
  return module;
}

/** Loads what `dict` has under `prefix` into a module. */
export function loaded<M extends Module>(module: M, dict: ReadonlyMap<string, Tensor>, prefix: string): M {
  const own = [...dict].filter(([name]) => name.startsWith(`${prefix}.`));
  module.loadStateDict(new Map(own.map(([name, value]) => [name.slice(prefix.length + 1), value])));
  return module;
}

/** [V, V], or [V, T] with `columns`: whether a pair is in `pairs`. */
export function allowedMask(pairs: readonly (readonly number[])[], columns: number): Tensor {
  const mask = new Uint8Array(pairs.length * columns);
  pairs.forEach((keys, row) => keys.forEach((key) => (mask[row * columns + key] = 1)));
  return tensor(mask, { shape: [pairs.length, columns], dtype: "bool" });
}
