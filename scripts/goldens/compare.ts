import { compareNumbers, type Tensor } from "@md/tensor";
import { array, type GoldenFile } from "./golden-file.js";

/** Relative tolerance of outputs. */
export const FORWARD = 1e-5;
/** Relative tolerance of gradients. */
export const GRADIENT = 1e-4;

/**
 * Holds `actual` against an array of the file: shapes and integers exactly, floats by
 * ‖actual - expected‖ <= tolerance · ‖expected‖ + 1e-7. Error naming the array where it is off; NaN is off.
 */
export function compare(golden: GoldenFile, name: string, actual: Tensor, tolerance: number): void {
  const { dtype, shape, data } = array(golden, name);
  if (String(actual.shape) !== String(shape))
    throw new Error(`${name}: shape is [${actual.shape}], expected [${shape}]`);
  const expected = Array.from<number | bigint, number>(data, Number);
  const found = actual.toFlatArray();
  if (dtype === "f32" || dtype === "f64") return compareNumbers(name, found, expected, tolerance);
  const wrong = expected.findIndex((value, i) => found[i] !== value);
  if (wrong >= 0) throw new Error(`${name}: element ${wrong} is ${found[wrong]}, expected ${expected[wrong]}`);
}
