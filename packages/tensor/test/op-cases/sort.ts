import * as md from "../../src/index.js";
import type { OpCase } from "../../src/index.js";

const bySize = (x: number[], descending: boolean): number[] =>
  x.map((_, i) => i).sort((a, b) => (descending ? x[b]! - x[a]! : x[a]! - x[b]!));
/** Columns of a flat [rows, columns]. */
const columnsOf = (x: number[], columns: number): number[][] =>
  Array.from({ length: columns }, (_, c) => x.filter((_v, i) => i % columns === c));
const interleave = (columns: number[][]): number[] =>
  columns[0]!.flatMap((_, row) => columns.map((column) => column[row]!));

export const sortCases: OpCase[] = [
  {
    primitives: ["sort"],
    name: "sort of the first axis, descending",
    inputs: [{ shape: [40, 3] }],
    run: (x) => {
      const { values, indices } = md.sort(x, { dim: 0, descending: true });
      return [values, indices];
    },
    reference: (x) => {
      const columns = columnsOf(x, 3);
      const orders = columns.map((column) => bySize(column, true));
      return [interleave(columns.map((column, c) => orders[c]!.map((i) => column[i]!))), interleave(orders)];
    },
  },
  {
    primitives: ["sort"],
    name: "argsort of equal integers keeps their order",
    inputs: [{ shape: [2, 90], dtype: "i32", range: [-3, 3] }],
    run: (x) => [md.argsort(x), md.argsort(x, { descending: true })],
    reference: (x) =>
      [false, true].map((descending) => [x.slice(0, 90), x.slice(90)].flatMap((row) => bySize(row, descending))),
    gradient: false,
  },
  {
    primitives: ["topk"],
    name: "topk, largest and smallest",
    inputs: [{ shape: [2, 7] }],
    run: (x) => {
      const largest = md.topk(x, 3);
      const smallest = md.topk(x, 2, { largest: false });
      return [largest.values, largest.indices, smallest.values, smallest.indices];
    },
    reference: (x) => {
      const rows = [x.slice(0, 7), x.slice(7)];
      const pick = (k: number, largest: boolean): number[][] => {
        const indices = rows.map((row) => bySize(row, largest).slice(0, k));
        return [rows.flatMap((row, r) => indices[r]!.map((i) => row[i]!)), indices.flat()];
      };
      return [...pick(3, true), ...pick(2, false)];
    },
  },
  {
    primitives: ["cumsum"],
    name: "cumsum of the middle axis",
    inputs: [{ shape: [2, 4, 3] }],
    run: (x) => md.cumsum(x, 1),
    reference: (x) =>
      x.map((_, p) =>
        x.reduce(
          (sum, value, q) => sum + (q <= p && q % 3 === p % 3 && Math.floor(q / 12) === Math.floor(p / 12) ? value : 0),
          0,
        ),
      ),
  },
  {
    primitives: ["cumsum"],
    name: "cumsum of the last axis from the end",
    inputs: [{ shape: [6, 5] }],
    run: (x) => md.cumsum(x, -1, { reverse: true }),
    reference: (x) => x.map((_, p) => x.slice(p, 5 * Math.floor(p / 5) + 5).reduce((sum, value) => sum + value, 0)),
  },
  {
    primitives: ["sort", "topk", "cumsum"],
    name: "sorting of nothing",
    inputs: [{ shape: [0, 3] }],
    run: (x) => [md.sort(x, { dim: 0 }).values, md.topk(x, 0).values, md.cumsum(x, 0)],
  },
];
