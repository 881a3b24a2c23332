import { describe, expect, it } from "vitest";
import * as md from "../src/index.js";

const ints = (values: number[], shape = [values.length]): md.Tensor => md.tensor(values, { shape, dtype: "i64" });

describe("indexing", () => {
  it("checks every index", () => {
    md.scope(() => {
      const x = md.zeros([3, 2]);
      expect(() => md.indexSelect(x, 0, ints([0, 3]))).toThrow(
        /\[indexSelect\] index of shape \[2\] has element 1 = 3, expected 0 to 2/,
      );
      expect(() => md.indexSelect(x, 0, ints([-1]))).toThrow(md.ValueError);
      expect(() => md.indexAdd(x, 1, ints([2]), md.zeros([3, 1]))).toThrow(md.ValueError);
      expect(() => md.gather(x, 1, ints([0, 2], [1, 2]))).toThrow(md.ValueError);
      expect(() => md.scatterAdd(x, 0, ints([9], [1, 1]), md.zeros([1, 1]))).toThrow(md.ValueError);
      expect(() => md.embedding(ints([3]), x)).toThrow(md.ValueError);
      expect(() => md.oneHot(ints([4]), 4)).toThrow(md.ValueError);
      expect(() => md.indexSelect(x, 0, md.zeros([1]))).toThrow(md.DTypeError);
    });
  });

  it("names shapes that do not fit", () => {
    md.scope(() => {
      expect(() => md.cat([md.zeros([2, 3]), md.zeros([2, 2])])).toThrow(
        /\[cat\] a tensor has shape \[2,2\], expected \[2,3\] but for axis 0/,
      );
      expect(() => md.cat([])).toThrow(md.ValueError);
      expect(() => md.cat([md.zeros([2]), ints([1])])).toThrow(md.DTypeError);
      expect(() => md.gather(md.zeros([2, 2]), 0, ints([0, 0, 0], [1, 3]))).toThrow(md.ShapeError);
      expect(() => md.indexAdd(md.zeros([2, 2]), 0, ints([0]), md.zeros([2, 2]))).toThrow(
        /source has shape \[2,2\], expected \[1,2\]/,
      );
    });
  });

  it("joins permuted views in their memory order", () => {
    md.scope(() => {
      const tokens = (count: number, first: number): md.Tensor =>
        md
          .arange(first, first + count * 6)
          .reshape([1, count, 3, 2])
          .permute([0, 2, 1, 3]);
      const [small, large, row] = [tokens(2, 0), tokens(5, 100), tokens(1, 50).contiguous()];
      for (const parts of [
        [small, large, row],
        [row, large, small],
        [row, small],
      ]) {
        const joined = md.cat(parts, 2);
        const expected = md.cat(
          parts.map((part) => part.contiguous()),
          2,
        );
        expect(joined.toFlatArray()).toEqual(expected.toFlatArray());
        expect(joined.add(1).toFlatArray()).toEqual(expected.add(1).toFlatArray());
      }
      const inTokens = md.cat([small, large], 2).permute([0, 2, 1, 3]);
      const before = md.memory().liveBytes;
      inTokens.contiguous();
      expect(md.memory().liveBytes).toBe(before);
    });
  });

  it("adds the same bits with one thread and with two", () => {
    md.scope(() => {
      const random = md.mulberry32(1);
      const rows = 20000;
      const source = md.tensor(Array.from({ length: rows * 4 }, random), { shape: [rows, 4] });
      const index = ints(Array.from({ length: rows }, () => Math.floor(random() * 7)));
      const threads = md.getNumThreads();
      const run = (count: number): number[] => {
        md.setNumThreads(count);
        return md.indexAdd(md.zeros([7, 4]), 0, index, source).toFlatArray();
      };
      try {
        expect(run(1)).toEqual(run(2));
      } finally {
        md.setNumThreads(threads);
      }
    });
  });
});

describe("sort", () => {
  it("puts NaN last, and -0 beside 0 in their order", () => {
    md.scope(() => {
      const x = md.tensor(Float32Array.of(NaN, 0, -0, -Infinity, 5, Infinity, NaN));
      const ascending = md.sort(x);
      expect(ascending.indices.toFlatArray()).toEqual([3, 1, 2, 4, 5, 0, 6]);
      expect(ascending.values.toFlatArray()).toEqual([-Infinity, 0, -0, 5, Infinity, NaN, NaN]);
      expect(md.argsort(x, { descending: true }).toFlatArray()).toEqual([0, 6, 5, 4, 1, 2, 3]);
    });
  });

  it("sorts long rows of every dtype", () => {
    md.scope(() => {
      const random = md.mulberry32(2);
      const signed = Array.from({ length: 70000 }, () => Math.floor((random() - 0.5) * 2 ** 31));
      const expected = [...signed].sort((a, b) => a - b);
      for (const dtype of ["f64", "i32", "i64"] as const) {
        const { values, indices } = md.sort(md.tensor(signed, { shape: [70000], dtype }));
        expect(values.toFlatArray()).toEqual(expected);
        expect(indices.toFlatArray().map((i) => signed[i])).toEqual(expected);
      }
      const bytes = signed.map((value) => Math.abs(value) % 256);
      const top = md.topk(md.tensor(bytes, { shape: [70000], dtype: "u8" }), 100);
      expect(top.values.toFlatArray()).toEqual([...bytes].sort((a, b) => b - a).slice(0, 100));
    });
  });

  it("takes the first of long rows as sorting puts them, equal ones in their order", () => {
    md.scope(() => {
      const n = 40000;
      const random = md.mulberry32(3);
      const odd = [NaN, Infinity, -Infinity, 0, -0, 1];
      const rows = {
        spread: Array.from({ length: n }, () => (random() - 0.5) * 10 ** (60 * (random() - 0.5))),
        close: Array.from({ length: n }, () => 1 + random() / 1000),
        equal: new Array<number>(n).fill(-3),
        odd: Array.from({ length: n }, () => odd[Math.floor(random() * odd.length)]!),
      };
      for (const [name, row] of Object.entries(rows)) {
        for (const dtype of ["f32", "f64"] as const) {
          const x = md.tensor(row, { shape: [n], dtype });
          for (const largest of [true, false]) {
            const sorted = md.sort(x, { descending: largest });
            for (const k of [65, 1000, n - 1]) {
              const { values, indices } = md.topk(x, k, { largest });
              const what = `${name} ${dtype} ${largest} ${k}`;
              expect(indices.toFlatArray(), what).toEqual(sorted.indices.narrow(0, 0, k).toFlatArray());
              expect(values.toFlatArray(), what).toEqual(sorted.values.narrow(0, 0, k).toFlatArray());
            }
          }
        }
      }
    });
  });

  it("refuses a k that does not fit", () => {
    md.scope(() => {
      expect(() => md.topk(md.zeros([3]), 4)).toThrow(/\[topk\] k is 4, expected 0 to 3/);
      expect(() => md.topk(md.zeros([3]), -1)).toThrow(md.ValueError);
    });
  });
});
