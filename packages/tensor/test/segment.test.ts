import { describe, expect, it } from "vitest";
import {
  getNumThreads,
  mulberry32,
  scope,
  segmentMax,
  segmentMean,
  segmentSum,
  setNumThreads,
  sum,
  tensor,
  type Tensor,
} from "../src/index.js";

const integers = (values: number[]): Tensor => tensor(values, { shape: [values.length], dtype: "i32" });

describe("segments", () => {
  it("gives the first of equals and the first NaN, and the gradient to it alone", () => {
    scope(() => {
      const x = tensor([1, 3, 3, NaN, 5, NaN], { shape: [6, 1] });
      x.requiresGrad = true;
      const { values, rows } = segmentMax(x, integers([0, 3, 6]));
      expect(values.toFlatArray()).toEqual([3, NaN]);
      expect(rows.toFlatArray()).toEqual([1, 3]);
      sum(values).backward();
      expect(x.grad!.toFlatArray()).toEqual([0, 1, 0, 1, 0, 0]);
    });
  });

  it("refuses segments that do not fit the rows", () => {
    scope(() => {
      const x = tensor([1, 2, 3, 4], { shape: [4, 1] });
      const message = /offsets does not rise from 0 to the 4 rows/;
      expect(() => segmentSum(x, integers([0, 3, 2, 4]))).toThrow(message);
      expect(() => segmentMean(x, integers([0, 3]))).toThrow(message);
      expect(() => segmentMax(x, integers([1, 4]))).toThrow(message);
      expect(() => segmentSum(x, integers([]))).toThrow(/\[segmentSum\] offsets has shape \[0\]/);
      const offsets = integers([0, 1, 4]);
      expect(() => segmentSum(x, offsets, { order: integers([0, 1, 2, 4]) })).toThrow(
        /order\[3\] is 4, expected 0 to 3/,
      );
      expect(() => segmentMean(x, offsets, { order: integers([0, 1, 2, 1]) })).toThrow(/order\[3\] is 1 again/);
      expect(() => segmentMax(x, offsets, { order: integers([0, 1, 2]) })).toThrow(
        /order has shape \[3\], expected \[4\]/,
      );
      expect(() => segmentMax(x, integers([0, 2, 2, 4]))).toThrow(/\[segmentMax\] segment 1 is empty/);
      expect(() => segmentSum(x.to("i32"), offsets)).toThrow(/x has dtype i32, expected f32 or f64/);
    });
  });

  it("gives the same bits on any number of threads", () => {
    const before = getNumThreads();
    scope(() => {
      const random = mulberry32(3);
      const x = tensor(Float32Array.from({ length: 5000 * 20 }, random), { shape: [5000, 20] });
      const offsets = integers([0, 0, 4000, 4000, 4001, 4900, 5000, 5000]);
      const run = (threads: number): number[] => {
        setNumThreads(threads);
        return segmentSum(x, offsets).toFlatArray();
      };
      const first = run(1);
      for (const threads of [2, 3, 8]) expect(run(threads)).toEqual(first);
    });
    setNumThreads(before);
  });
});
