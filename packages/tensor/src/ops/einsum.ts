import { ShapeError, UnsupportedError, ValueError } from "@md/native";
import type { Tensor } from "../tensor.js";
import { matmul } from "./matmul.js";
import { sum } from "./reduce.js";
import { product } from "./shape.js";
import { permute, reshape } from "./views.js";

interface Equation {
  inputs: string[];
  output: string;
}

function parse(equation: string, operands: number): Equation {
  const [left = "", right, ...rest] = equation.replaceAll(" ", "").split("->");
  const inputs = left.split(",");
  const letters = inputs.join("");
  if (rest.length > 0 || !/^[A-Za-z]*$/.test(letters + (right ?? ""))) {
    throw new ValueError(`[einsum] found the equation "${equation}", expected letters as in "bqd,bkd->bqk"`);
  }
  if (inputs.length !== operands) {
    throw new ValueError(`[einsum] "${equation}" names ${inputs.length} operands, found ${operands}`);
  }
  if (operands > 2) throw new UnsupportedError(`[einsum] found ${operands} operands, expected 1 or 2`);
  const once = [...new Set(letters)].filter((letter) => letters.split(letter).length === 2).sort();
  const output = right ?? once.join("");
  for (const subscripts of [...inputs, output]) {
    if (new Set(subscripts).size !== subscripts.length) {
      throw new UnsupportedError(`[einsum] "${subscripts}" of "${equation}" repeats a letter, expected each axis once`);
    }
  }
  for (const letter of output) {
    if (!letters.includes(letter))
      throw new ValueError(`[einsum] "${letter}" of the output of "${equation}" is in no operand`);
  }
  return { inputs, output };
}

function extentsOf(equation: string, inputs: readonly string[], operands: readonly Tensor[]): Map<string, number> {
  const extents = new Map<string, number>();
  operands.forEach((operand, i) => {
    const subscripts = inputs[i]!;
    if (operand.rank !== subscripts.length) {
      throw new ShapeError(
        `[einsum] operand ${i} has shape [${operand.shape}], expected rank ${subscripts.length} for "${subscripts}" of "${equation}"`,
      );
    }
    [...subscripts].forEach((letter, axis) => {
      const extent = operand.shape[axis]!;
      const known = extents.get(letter) ?? extent;
      if (extent !== known) {
        throw new ShapeError(
          `[einsum] axis "${letter}" of "${equation}" has extent ${extent} in operand ${i} of shape [${operand.shape}], expected ${known}`,
        );
      }
      extents.set(letter, extent);
    });
  });
  return extents;
}

/** `x`, whose axes are `from`, summed over those not in `keep`. */
function keepOnly(x: Tensor, from: string, keep: string): [Tensor, string] {
  const gone = [...from].flatMap((letter, axis) => (keep.includes(letter) ? [] : [axis]));
  if (gone.length === 0) return [x, from];
  return [sum(x, { dim: gone }), [...from].filter((letter) => keep.includes(letter)).join("")];
}

/** `x`, whose axes are `from`, with its axes in the order of `to`, a permutation. */
const reorder = (x: Tensor, from: string, to: string): Tensor =>
  from === to
    ? x
    : permute(
        x,
        [...to].map((letter) => from.indexOf(letter)),
      );

/**
 * Einstein summation of one or two operands, as PyTorch's: `einsum("bqhd,bkhd->bhqk", q, k)`. A letter an axis; letters
 * missing from the output are summed over; without "->" the output has the letters that occur once, in alphabetic
 * order. Two operands become one batched {@link matmul}; f32 or f64. No ellipsis, no repeated letter in an operand.
 *
 * @throws ValueError for a malformed equation, UnsupportedError, ShapeError, DTypeError
 */
export function einsum(equation: string, ...operands: readonly Tensor[]): Tensor {
  const { inputs, output } = parse(equation, operands.length);
  const extents = extentsOf(equation, inputs, operands);
  if (operands.length === 1) {
    const [kept, letters] = keepOnly(operands[0]!, inputs[0]!, output);
    return reorder(kept, letters, output);
  }
  const [a, aLetters] = keepOnly(operands[0]!, inputs[0]!, output + inputs[1]!);
  const [b, bLetters] = keepOnly(operands[1]!, inputs[1]!, output + inputs[0]!);
  const pick = (letters: string, test: (letter: string) => boolean): string => [...letters].filter(test).join("");
  const batch = pick(aLetters, (letter) => bLetters.includes(letter) && output.includes(letter));
  const summed = pick(aLetters, (letter) => bLetters.includes(letter) && !output.includes(letter));
  const rows = pick(aLetters, (letter) => !bLetters.includes(letter));
  const cols = pick(bLetters, (letter) => !aLetters.includes(letter));
  const shapeOf = (letters: string): number[] => [...letters].map((letter) => extents.get(letter)!);
  // The batch axes stay apart: merging them would copy a permuted operand.
  const asMatrices = (x: Tensor, from: string, groups: readonly [string, string]): Tensor =>
    reshape(reorder(x, from, batch + groups[0] + groups[1]), [
      ...shapeOf(batch),
      product(shapeOf(groups[0])),
      product(shapeOf(groups[1])),
    ]);
  const out = matmul(asMatrices(a, aLetters, [rows, summed]), asMatrices(b, bLetters, [summed, cols]));
  return reorder(reshape(out, shapeOf(batch + rows + cols)), batch + rows + cols, output);
}
