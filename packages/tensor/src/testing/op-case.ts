import { type DType } from "../dtype.js";
import { tensor } from "../ops/create.js";
import { cast } from "../ops/elementwise.js";
import { permute } from "../ops/views.js";
import { scope } from "../scope.js";
import type { Tensor } from "../tensor.js";
import { gradcheck, mulberry32 } from "./gradcheck.js";

/** An operand of an op case: random numbers of a range, or given integers. */
export interface OperandSpec {
  shape: readonly number[];
  /** Default f32; floats run in f64 too. */
  dtype?: DType;
  /** Range of random floats, default [-1, 1]; of random integers, default [0, 8). */
  range?: readonly [number, number];
  values?: readonly number[];
  /** Whether gradients are checked with respect to it. Default: true for floats. */
  grad?: boolean;
}

/** One row of the op-case table: it drives the forward check, the gradient check and the benchmark of an op. */
export interface OpCase {
  /** Primitives that this row exercises. */
  primitives: readonly string[];
  name: string;
  inputs: readonly OperandSpec[];
  run: (...inputs: Tensor[]) => Tensor | readonly Tensor[];
  /** The same in plain numbers: flat row-major inputs to one flat output each. */
  reference?: (...inputs: number[][]) => number[] | number[][];
  /** Default true. */
  gradient?: boolean;
  /** Relative tolerance of f32 against f64. Default 1e-5. */
  tolerance?: number;
}

/** Operands of a case in the given float type; the same numbers for the same seed. `permuted`: in a non-contiguous layout. */
export function makeOperands(
  opCase: OpCase,
  { float = "f32", permuted = false, seed = 7 }: { float?: "f32" | "f64"; permuted?: boolean; seed?: number } = {},
): Tensor[] {
  const random = mulberry32(seed);
  return opCase.inputs.map((spec) => {
    const declared = spec.dtype ?? "f32";
    const isFloat = declared === "f32" || declared === "f64";
    const [low, high] = spec.range ?? (isFloat ? [-1, 1] : declared === "bool" ? [0, 2] : [0, 8]);
    const size = spec.shape.reduce((total, extent) => total * extent, 1);
    const draw = (): number => {
      const value = low + random() * (high - low);
      return isFloat ? Math.fround(value) : Math.floor(value);
    };
    const values = spec.values ?? Array.from({ length: size }, draw);
    const base = tensor(values, { shape: spec.shape, dtype: isFloat ? float : declared });
    const x = permuted ? throughPermutedCopy(base) : base;
    const leaf = x.detach();
    if (isFloat && spec.grad !== false) leaf.requiresGrad = true;
    return leaf;
  });
}

// The same values with the axes' memory order reversed.
function throughPermutedCopy(x: Tensor): Tensor {
  const reversed = x.shape.map((_, axis) => x.rank - 1 - axis);
  return permute(permute(x, reversed).contiguous(), reversed);
}

/**
 * Runs one row: f32 against f64, against the plain reference where there is one, non-contiguous against contiguous, and
 * the gradient check in f64. Throws an Error that names the row and the first number that is off.
 */
export function runOpCase(opCase: OpCase): void {
  scope(() => {
    const outputs = (options: Parameters<typeof makeOperands>[1]): Tensor[] =>
      [opCase.run(...makeOperands(opCase, options))].flat() as Tensor[];
    const exact = outputs({ float: "f64" });
    const tolerance = opCase.tolerance ?? 1e-5;
    outputs({ float: "f32" }).forEach((output, i) =>
      compare(`${opCase.name}: f32 output ${i}`, output, exact[i]!, tolerance),
    );
    outputs({ float: "f64", permuted: true }).forEach((output, i) =>
      compare(`${opCase.name}: non-contiguous output ${i}`, output, exact[i]!, 1e-12),
    );
    if (opCase.reference) {
      const operands = makeOperands(opCase, { float: "f64" });
      const expected = opCase.reference(...operands.map((x) => x.toFlatArray()));
      const lists = (Array.isArray(expected[0]) ? expected : [expected]) as number[][];
      exact.forEach((output, i) =>
        compareNumbers(`${opCase.name}: output ${i}`, output.toFlatArray(), lists[i]!, 1e-9),
      );
    }
    if (opCase.gradient !== false) gradcheck(opCase.run, makeOperands(opCase, { float: "f64" }));
  });
}

function compare(label: string, actual: Tensor, expected: Tensor, tolerance: number): void {
  if (String(actual.shape) !== String(expected.shape)) {
    throw new Error(`${label}: shape is [${actual.shape}], expected [${expected.shape}]`);
  }
  const wide = (x: Tensor): number[] => (x.dtype === "f32" ? cast(x, "f64") : x).toFlatArray();
  compareNumbers(label, wide(actual), wide(expected), tolerance);
}

/** ‖actual - expected‖ <= tolerance · ‖expected‖ + 1e-7, NaN failing; throws an Error otherwise. */
export function compareNumbers(
  label: string,
  actual: readonly number[],
  expected: readonly number[],
  tolerance: number,
): void {
  if (actual.length !== expected.length)
    throw new Error(`${label}: found ${actual.length} numbers, expected ${expected.length}`);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] === expected[i]) continue;
    difference += (actual[i]! - expected[i]!) ** 2;
  }
  for (const value of expected) if (Number.isFinite(value)) norm += value ** 2;
  const error = Math.sqrt(difference);
  if (!(error <= tolerance * Math.sqrt(norm) + 1e-7)) {
    throw new Error(
      `${label}: ‖actual - expected‖ is ${error}, expected at most ${tolerance * Math.sqrt(norm) + 1e-7}`,
    );
  }
}
