import * as md from "../../src/index.js";
import type { OpCase, OperandSpec } from "../../src/index.js";

// Three segments of 7 rows with another order, the second of one row.
const offsets: OperandSpec = { shape: [4], dtype: "i32", values: [0, 3, 4, 7] };
const order: OperandSpec = { shape: [7], dtype: "i32", values: [4, 0, 6, 1, 5, 3, 2] };
const withEmpty: OperandSpec = { shape: [5], dtype: "i32", values: [0, 0, 5, 5, 7] };

/** f(values of one column of one segment, the rows they are of), segment by segment and column by column. */
function overSegments<R>(
  x: number[],
  columns: number,
  starts: number[],
  rows: number[],
  f: (values: number[], rows: number[]) => R,
): R[] {
  return starts.slice(1).flatMap((end, s) => {
    const own = rows.slice(starts[s], end);
    return Array.from({ length: columns }, (_, c) =>
      f(
        own.map((row) => x[row * columns + c]!),
        own,
      ),
    );
  });
}
const total = (values: number[]): number => values.reduce((sum, value) => sum + value, 0);
const identity = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

export const segmentCases: OpCase[] = [
  {
    primitives: ["segmentSum", "segmentMean", "segmentReduceGrad"],
    name: "sums and means of segments in a given order",
    inputs: [{ shape: [7, 3] }, offsets, order],
    run: (x, o, rows) => [md.segmentSum(x, o, { order: rows }), md.segmentMean(x, o, { order: rows })],
    reference: (x, o, rows) => [
      overSegments(x, 3, o, rows, total),
      overSegments(x, 3, o, rows, (values) => total(values) / values.length),
    ],
  },
  {
    primitives: ["segmentSum", "segmentMean", "segmentReduceGrad"],
    name: "sums and means of adjacent rows, of some segments none",
    inputs: [{ shape: [7, 2, 2] }, withEmpty],
    run: (x, o) => [md.segmentSum(x, o), md.segmentMean(x, o)],
    reference: (x, o) => [
      overSegments(x, 4, o, identity(7), total),
      overSegments(x, 4, o, identity(7), (values) => total(values) / Math.max(1, values.length)),
    ],
  },
  {
    primitives: ["segmentMax", "segmentReduceGrad"],
    name: "maxima of segments and where they were",
    inputs: [{ shape: [7, 3] }, offsets, order],
    run: (x, o, rows) => {
      const max = md.segmentMax(x, o, { order: rows });
      return [max.values, max.rows];
    },
    reference: (x, o, rows) => [
      overSegments(x, 3, o, rows, (values) => Math.max(...values)),
      overSegments(x, 3, o, rows, (values, own) => own[values.indexOf(Math.max(...values))]!),
    ],
  },
  {
    primitives: ["segmentSum", "segmentMean", "segmentMax"],
    name: "segments of one long run over many columns",
    inputs: [{ shape: [200, 67] }, { shape: [2], dtype: "i32", values: [0, 200] }],
    run: (x, o) => [md.segmentSum(x, o), md.segmentMean(x, o), md.segmentMax(x, o).values],
    reference: (x, o) => [
      overSegments(x, 67, o, identity(200), total),
      overSegments(x, 67, o, identity(200), (values) => total(values) / 200),
      overSegments(x, 67, o, identity(200), (values) => Math.max(...values)),
    ],
    gradient: false,
  },
  {
    primitives: ["segmentSum", "segmentMean", "segmentMax"],
    name: "segments of nothing",
    inputs: [{ shape: [0, 3] }, { shape: [1], dtype: "i32", values: [0] }, { shape: [0], dtype: "i32" }],
    run: (x, o, rows) => [md.segmentSum(x, o), md.segmentMean(x, o, { order: rows }), md.segmentMax(x, o).values],
    reference: () => [[], [], []],
  },
];
