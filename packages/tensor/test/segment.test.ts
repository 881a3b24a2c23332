import { describe, expect, it } from "vitest";
import {
  getNumThreads,
  memory,
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

  it("copies nothing where each row is a segment of its own, in their order", () => {
    scope(() => {
      const x = tensor([1, -2, 3, 4, 5, -6], { shape: [3, 2] });
      const [apart, inOrder, turned] = [integers([0, 1, 2, 3]), integers([0, 1, 2]), integers([0, 2, 1])];
      const added = (reduce: typeof segmentMean, order: Tensor | null): { bytes: number; values: number[] } => {
        const before = memory().liveBytes;
        const out = reduce(x, apart, { order });
        return { bytes: memory().liveBytes - before, values: out.toFlatArray() };
      };
      for (const reduce of [segmentMean, segmentSum]) {
        for (const order of [null, inOrder])
          expect(added(reduce, order)).toEqual({ bytes: 0, values: x.toFlatArray() });
        const { bytes, values } = added(reduce, turned);
        expect(bytes).toBeGreaterThan(0);
        expect(values).toEqual([1, -2, 5, -6, 3, 4]);
      }
      // As many segments as rows, but not one each.
      expect(segmentMean(x, integers([0, 2, 2, 3])).toFlatArray()).toEqual([2, 1, 0, 0, 5, -6]);

      x.requiresGrad = true;
      const mean = (): Tensor => segmentMean(x, apart, { order: inOrder });
      sum(mean().mul(mean())).backward();
      sum(mean().mul(x.detach())).backward();
      expect(x.grad!.toFlatArray()).toEqual([3, -6, 9, 12, 15, -18]);
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
