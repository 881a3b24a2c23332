import { type Curve, scope, serialize, type Tensor } from "@md/tensor";
import { array, type GoldenFile, load } from "./golden-file.js";
import { emptyReport, type GoldenReport, runCase } from "./report.js";

/** Whether the file holds codes of space-filling curves. */
export const isSerialization = (golden: GoldenFile): boolean =>
  golden.arrays.has("grid_coord") && curvesOf(golden).length > 0;

const curvesOf = (golden: GoldenFile): string[] =>
  [...golden.arrays.keys()].flatMap((name) => (name.startsWith("code.") ? [name.slice("code.".length)] : []));

/** Holds the codes of every curve of the file, and their order, against `serialize`. */
export function checkSerialization(golden: GoldenFile): GoldenReport {
  const report = emptyReport();
  for (const curve of curvesOf(golden)) runCase(report, curve, () => scope(() => checkCurve(golden, curve as Curve)));
  return report;
}

function checkCurve(golden: GoldenFile, curve: Curve): void {
  const read = (name: string): Tensor => load(golden, name);
  const depth = Number(array(golden, "depth").data[0]);
  const { code, order, inverse } = serialize(read("grid_coord"), read("batch"), { curve, depth });
  // Not as numbers: codes may exceed 2^53.
  const expected = Array.from<number | bigint, bigint>(array(golden, `code.${curve}`).data, BigInt);
  const codes = Array.from<number | bigint, bigint>(code.data(), BigInt);
  if (codes.length !== expected.length) throw new Error(`found ${codes.length} codes, expected ${expected.length}`);
  const wrong = codes.findIndex((value, row) => value !== expected[row]);
  if (wrong >= 0) throw new Error(`the code of row ${wrong} is ${codes[wrong]}, expected ${expected[wrong]}`);
  const rows = order.toFlatArray();
  const places = inverse.toFlatArray();
  rows.forEach((row, place) => {
    const before = rows[place - 1];
    const follows =
      before === undefined || codes[before]! < codes[row]! || (codes[before] === codes[row] && before < row);
    if (!follows || places[row] !== place) throw new Error(`row ${row} is out of order at place ${place}`);
  });
}
