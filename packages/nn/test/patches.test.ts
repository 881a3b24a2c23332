import { ValueError } from "@md/tensor";
import { describe, expect, it } from "vitest";
import { type Patches, patchesOf, type PatchRule } from "../src/point-cloud/patches.js";

const offsetsOf = (counts: readonly number[]): Int32Array =>
  Int32Array.from([0, ...counts.map((_, i) => counts.slice(0, i + 1).reduce((a, b) => a + b))]);
const range = (begin: number, end: number): number[] => Array.from({ length: end - begin }, (_, i) => begin + i);

interface Padding {
  /** Row of each padded place. */
  pad: number[];
  /** Padded place of each row. */
  unpad: number[];
  /** Borders of patches among the padded places. */
  cuSeqlens: number[];
}

/** `get_padding_and_inverse` of Point Transformer V3, line by line. */
function paddingOf(counts: readonly number[], patchSize: number): Padding {
  const padded = counts.map((count) => (count > patchSize ? Math.ceil(count / patchSize) * patchSize : count));
  const [offsets, paddedOffsets] = [offsetsOf(counts), offsetsOf(padded)];
  const pad = range(0, paddedOffsets.at(-1)!);
  const unpad = range(0, offsets.at(-1)!);
  const cuSeqlens: number[] = [];
  counts.forEach((count, i) => {
    const shift = paddedOffsets[i]! - offsets[i]!;
    const end = paddedOffsets[i + 1]!;
    for (let row = offsets[i]!; row < offsets[i + 1]!; row++) unpad[row]! += shift;
    if (count !== padded[i]) {
      const first = end - patchSize + (count % patchSize);
      for (let place = first; place < end; place++) pad[place] = place - patchSize;
    }
    for (let place = paddedOffsets[i]!; place < end; place++) pad[place]! -= shift;
    for (let place = paddedOffsets[i]!; place < end; place += patchSize) cuSeqlens.push(place);
  });
  return { pad, unpad, cuSeqlens: [...cuSeqlens, pad.length] };
}

/** Keys that each row attends, in rising order. */
function keysOfRows({ cuSeqlensQ, cuSeqlensK, keys }: Patches): number[][] {
  const places = keys ? keys.toFlatArray() : range(0, cuSeqlensK.at(-1)!);
  return range(0, cuSeqlensQ.length - 1).flatMap((patch) => {
    const attended = places.slice(cuSeqlensK[patch], cuSeqlensK[patch + 1]).toSorted((a, b) => a - b);
    return range(cuSeqlensQ[patch]!, cuSeqlensQ[patch + 1]!).map(() => attended);
  });
}

function theirKeysOfRows({ pad, unpad, cuSeqlens }: Padding): number[][] {
  return unpad.map((place) => {
    const patch = cuSeqlens.findLastIndex((begin) => begin <= place);
    return pad.slice(cuSeqlens[patch], cuSeqlens[patch + 1]).toSorted((a, b) => a - b);
  });
}

// Sizes that divide, that do not, one more and one less, smaller than a patch, and a single row.
const batches = [[12], [4], [3], [1], [5], [12, 7], [7, 12, 4], [3, 9, 5], [1, 13, 2], [8, 8], [5, 5, 5], [100, 33]];

describe("patchesOf", () => {
  for (const patchSize of [1, 2, 3, 4, 7, 120]) {
    it.each(batches.map((counts) => [counts]))(
      `gives rows of %j the keys of Point Transformer V3 in patches of ${patchSize}`,
      (counts) => {
        const offsets = offsetsOf(counts);
        expect(keysOfRows(patchesOf(offsets, patchSize, "item"))).toEqual(
          theirKeysOfRows(paddingOf(counts, patchSize)),
        );
        // Without flash attention the patch is at most as large as the smallest item.
        const smallest = Math.min(patchSize, ...counts);
        expect(keysOfRows(patchesOf(offsets, patchSize, "batch"))).toEqual(
          theirKeysOfRows(paddingOf(counts, smallest)),
        );
      },
    );
  }

  it("has every row as a query once, and as many keys in each patch of an item", () => {
    for (const counts of batches) {
      for (const rule of ["item", "batch"] as const) {
        const { cuSeqlensQ, cuSeqlensK } = patchesOf(offsetsOf(counts), 4, rule);
        expect(cuSeqlensQ.length).toBe(cuSeqlensK.length);
        const sizes = (ends: Int32Array): number[] => [...ends].slice(1).map((end, patch) => end - ends[patch]!);
        const [queries, keys] = [sizes(cuSeqlensQ), sizes(cuSeqlensK)];
        expect(queries.every((size, patch) => size >= 1 && size <= keys[patch]!)).toBe(true);
        let row = 0;
        const itemOf = offsetsOf(counts);
        queries.forEach((size, patch) => {
          const count = counts[itemOf.findLastIndex((begin) => begin <= row)]!;
          expect(keys[patch]).toBe(rule === "item" ? Math.min(4, count) : Math.min(4, ...counts));
          row += size;
        });
        expect(row).toBe(itemOf.at(-1));
      }
    }
  });

  it("names no keys where none is borrowed", () => {
    const borrows = (counts: number[], rule: PatchRule): boolean => patchesOf(offsetsOf(counts), 4, rule).keys !== null;
    expect([borrows([8, 4], "item"), borrows([3, 2], "item"), borrows([4, 2], "batch")]).toEqual([false, false, false]);
    expect([borrows([8, 5], "item"), borrows([3, 2], "batch")]).toEqual([true, true]);
    expect(patchesOf(offsetsOf([3, 2]), 4, "item")).toEqual({
      cuSeqlensQ: Int32Array.from([0, 3, 5]),
      cuSeqlensK: Int32Array.from([0, 3, 5]),
      keys: null,
    });
    expect(patchesOf(offsetsOf([1, 6]), 4, "item").keys!.toFlatArray()).toEqual([0, 1, 2, 3, 4, 3, 4, 5, 6]);
  });

  it("depends on an item alone, or on the smallest of the batch", () => {
    const second = (rule: PatchRule, first: number): number[][] =>
      keysOfRows(patchesOf(offsetsOf([first, 9]), 4, rule))
        .slice(first)
        .map((keys) => keys.map((key) => key - first));
    expect(second("item", 2)).toEqual(second("item", 50));
    expect(second("batch", 2)).not.toEqual(second("batch", 50));
    expect(second("batch", 50)).toEqual(second("item", 50));
  });

  it.each([0, -3, 1.5, NaN, Infinity])("refuses patches of %d", (patchSize) => {
    expect(() => patchesOf(offsetsOf([3]), patchSize, "item")).toThrow(ValueError);
    expect(() => patchesOf(offsetsOf([3]), patchSize, "item")).toThrow(`patchSize is ${patchSize}`);
  });
});
