import { backward } from "../autograd.js";
import type { DeviceName } from "../device.js";
import { type DType, type HalfDType, isFloat as isFloatType, isHalf } from "../dtype.js";
import { tensor } from "../ops/create.js";
import { cast, mul } from "../ops/elementwise.js";
import { sum } from "../ops/reduce.js";
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
  /**
   * Relative tolerance of f16 and bf16 against f64, in units of their epsilon, 2^-10 and 2^-7: half of one for every op
   * that rounds, and more where it is badly conditioned. Default 4. null: the op takes neither.
   */
  halfTolerance?: number | null;
}

export interface OperandOptions {
  /** Type of the floats. Default f32. */
  float?: "f32" | "f64" | HalfDType;
  /** Numbers are rounded to this dtype first. Default: `float`. */
  rounded?: HalfDType;
  /** Whether the layout is not contiguous. Default false. */
  permuted?: boolean;
  /** Default 7. */
  seed?: number;
  /** Default "cpu". */
  device?: DeviceName;
}

/** Operands of a case; the same numbers for the same seed. */
export function makeOperands(
  opCase: OpCase,
  { float = "f32", rounded, permuted = false, seed = 7, device = "cpu" }: OperandOptions = {},
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
    const base = isFloat
      ? tensor(values, { shape: spec.shape, dtype: rounded ?? float, device }).to(float)
      : tensor(values, { shape: spec.shape, dtype: declared, device });
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
 * Runs one row: f32 against f64, against the plain reference where there is one, non-contiguous against contiguous, the
 * gradient check in f64, and f16 and bf16, values and gradients, against f64 of the same rounded operands. Throws an Error
 * that names the row and the first number that is off.
 */
export function runOpCase(opCase: OpCase): void {
  scope(() => {
    const outputs = (options: OperandOptions): Tensor[] =>
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
  for (const half of halves) if (opCase.halfTolerance !== null) runHalf(opCase, half);
}

const halves: readonly HalfDType[] = ["f16", "bf16"];
const epsilon: Record<HalfDType, number> = { f16: 2 ** -10, bf16: 2 ** -7 };

function runHalf(opCase: OpCase, half: HalfDType): void {
  scope(() => {
    const exact = resultsOf(opCase, { float: "f64", rounded: half });
    resultsOf(opCase, { float: half }).forEach(({ name, value }, i) => {
      const label = `${opCase.name}: ${half} ${name}`;
      const expected = exact[i]!.value;
      const dtype = expected.dtype === "f64" ? half : expected.dtype;
      if (value.dtype !== dtype) throw new Error(`${label}: dtype is ${value.dtype}, expected ${dtype}`);
      compare(label, value, expected, (opCase.halfTolerance ?? 4) * epsilon[half]);
    });
  });
}

/** Rounding that a device may add to the CPU's in f32: `exp`, `sin` and sums differ by some units in the last place. */
const F32_ROUNDING = 4 * 2 ** -23;

/**
 * Runs one row on `device` and on the CPU and compares outputs and gradients: f32, f64, and f64 in a layout that is not
 * contiguous; f16 and bf16. Below f64 both are held against the CPU's f64 of the same operands: the device may be twice as
 * far from it as the CPU is (flash-attention's criterion, `test_flash_attn.py`), and four units in the last place of f32,
 * or one epsilon of f16 and bf16. Throws an Error that names the row and the first number that is off.
 */
export function runOpCaseOn(device: DeviceName, opCase: OpCase): void {
  const layouts: OperandOptions[] = [{ float: "f32" }, { float: "f64" }, { float: "f64", permuted: true }];
  if (opCase.halfTolerance !== null) layouts.push(...halves.map((half) => ({ float: half, rounded: half })));
  for (const options of layouts) {
    scope(() => {
      const label = `${opCase.name} on ${device}: ${options.float}${options.permuted ? " non-contiguous" : ""}`;
      const expected = resultsOf(opCase, { ...options, device: "cpu" });
      const exact = options.float === "f64" ? expected : resultsOf(opCase, { ...options, float: "f64", device: "cpu" });
      const results = resultsOf(opCase, { ...options, device });
      const names = (list: readonly { name: string }[]): string => list.map(({ name }) => name).join(", ");
      if (names(results) !== names(expected))
        throw new Error(`${label}: found ${names(results)}, expected ${names(expected)}`);
      results.forEach(({ name, value }, i) => {
        if (value.device === "cpu") throw new Error(`${label} ${name}: is on the CPU, expected ${device}`);
        const here = expected[i]!.value;
        const rounds = value.dtype === "f32" || isHalf(value.dtype);
        const unit = isHalf(value.dtype) ? epsilon[value.dtype] : F32_ROUNDING;
        const tolerance = rounds ? 2 * relativeError(here, exact[i]!.value) + unit : 1e-11;
        compare(`${label} ${name}`, value.to("cpu"), rounds ? exact[i]!.value : here, tolerance);
      });
    });
  }
}

/** ‖actual - exact‖ / ‖exact‖; 0 where both are 0. */
function relativeError(actual: Tensor, exact: Tensor): number {
  const [found, wanted] = [actual.toFlatArray(), exact.toFlatArray()];
  const off = Math.hypot(...found.map((value, i) => (value === wanted[i] ? 0 : value - wanted[i]!)));
  return off === 0 ? 0 : off / Math.hypot(...wanted.filter(Number.isFinite));
}

/** Outputs, and gradients along a random cotangent. */
function resultsOf(opCase: OpCase, options: OperandOptions): { name: string; value: Tensor }[] {
  const operands = makeOperands(opCase, options);
  const outputs = [opCase.run(...operands)].flat() as Tensor[];
  const results = outputs.map((value, i) => ({ name: `output ${i}`, value: value.detach() }));
  const recorded = outputs.filter((output) => isFloatType(output.dtype) && output.requiresGrad);
  if (opCase.gradient === false || recorded.length === 0) return results;
  const random = mulberry32(1);
  const total = recorded
    .map((output) => {
      const cotangent = Array.from({ length: output.size }, () => random() * 2 - 1);
      const dtype = options.rounded ?? output.dtype;
      const weights = tensor(cotangent, { shape: output.shape, dtype, device: output.device }).to(output.dtype);
      return sum(mul(output, weights));
    })
    .reduce((left, right) => left.add(right));
  backward(total);
  operands.forEach((operand, i) => {
    if (operand.grad) results.push({ name: `gradient of input ${i}`, value: operand.grad });
  });
  return results;
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
