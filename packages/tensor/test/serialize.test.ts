import { DTypeError, ShapeError, ValueError } from "@md/native";
import { describe, expect, it } from "vitest";
import { type Curve, curves, scope, serialize, tensor, type Tensor } from "../src/index.js";

const rowsOf = (rows: number[][]): Tensor => tensor(rows.flat(), { shape: [rows.length, 3], dtype: "i32" });
const itemsOf = (items: number[]): Tensor => tensor(items, { shape: [items.length], dtype: "i32" });

/** Every cell of a grid, by x, y and z. */
function cells(extent: number): number[][] {
  const axis = Array.from({ length: extent }, (_, i) => i);
  return axis.flatMap((x) => axis.flatMap((y) => axis.map((z) => [x, y, z])));
}

describe("serialize", () => {
  it.each(curves)("visits each cell of a grid once along %s", (curve: Curve) => {
    scope(() => {
      const grid = cells(8);
      const { code, order, inverse } = serialize(rowsOf(grid), itemsOf(grid.map(() => 0)), { curve, depth: 3 });
      const places = code.toFlatArray();
      expect([...places].sort((a, b) => a - b)).toEqual(grid.map((_, i) => i));
      expect(order.toFlatArray()).toEqual(grid.map((_, place) => places.indexOf(place)));
      expect(inverse.toFlatArray()).toEqual(places);
      if (!curve.startsWith("hilbert")) return;
      const path = order.toFlatArray().map((row) => grid[row]!);
      for (let i = 1; i < path.length; i++) {
        const steps = path[i]!.map((v, axis) => Math.abs(v - path[i - 1]![axis]!));
        expect(steps.reduce((sum, step) => sum + step)).toBe(1);
      }
    });
  });

  it("keeps the order of equal rows, puts items one after the other, and holds 16 bits an axis", () => {
    scope(() => {
      const most = 2 ** 16 - 1;
      const rows = [
        [most, most, most],
        [0, 0, 1],
        [0, 0, 0],
        [0, 0, 1],
        [most, most, most],
      ];
      const { code, order } = serialize(rowsOf(rows), itemsOf([0, 1, 1, 1, 2 ** 15 - 1]));
      expect(order.toFlatArray()).toEqual([0, 2, 1, 3, 4]);
      expect([...code.data()]).toEqual([2n ** 48n - 1n, 2n ** 48n + 1n, 2n ** 48n, 2n ** 48n + 1n, 2n ** 63n - 1n]);
    });
  });

  it("orders many rows as few", () => {
    scope(() => {
      const grid = cells(32).reverse();
      const { order } = serialize(rowsOf(grid), itemsOf(grid.map(() => 0)), { depth: 5 });
      const alone = serialize(rowsOf(grid.slice(0, 999)), itemsOf(Array(999).fill(0)), {
        depth: 5,
      }).order.toFlatArray();
      expect(order.toFlatArray().filter((row) => row < 999)).toEqual(alone);
    });
  });

  it("names what is outside", () => {
    scope(() => {
      const one = itemsOf([0]);
      expect(() => serialize(rowsOf([[0, 8, 0]]), one, { depth: 3 })).toThrow(
        /\[serialize\] row 0 is \(0, 8, 0\) of batch item 0, expected coordinates from 0 to 7/,
      );
      expect(() => serialize(rowsOf([[0, 0, -1]]), one)).toThrow(ValueError);
      expect(() => serialize(rowsOf([[0, 0, 0]]), itemsOf([2 ** 15]))).toThrow(/an item from 0 to 32767/);
      expect(() => serialize(rowsOf([[0, 0, 0]]), itemsOf([-1]))).toThrow(/batch item -1/);
      expect(() => serialize(rowsOf([[0, 0, 0]]), one, { depth: 17 })).toThrow(/depth is 17, expected 1 to 16/);
      expect(() => serialize(rowsOf([[0, 0, 0]]), one, { depth: 1.5 })).toThrow(/depth is 1.5, expected an integer/);
      expect(() => serialize(rowsOf([[0, 0, 0]]), one, { curve: "peano" as Curve })).toThrow(
        /curve is peano, expected/,
      );
      expect(() => serialize(rowsOf([[0, 0, 0]]), itemsOf([0, 0]))).toThrow(ShapeError);
      expect(() => serialize(tensor([[0, 0, 0]]), one)).toThrow(DTypeError);
    });
  });
});
