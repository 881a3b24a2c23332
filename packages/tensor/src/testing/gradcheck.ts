import { backward, noGrad } from "../autograd.js";
import { tensor } from "../ops/create.js";
import { mul } from "../ops/elementwise.js";
import { sum } from "../ops/reduce.js";
import { scope } from "../scope.js";
import type { Tensor } from "../tensor.js";

/**
 * Compares the gradients of `f` with central differences in f64, along a random cotangent. Every input must be f64;
 * those with `requiresGrad` are checked, element by element. Throws an Error that names the input, the element and both
 * numbers where |analytic - numeric| > atol + rtol · |numeric|, NaN included.
 *
 * @param f gives one tensor or several; integer and bool outputs are ignored
 */
export function gradcheck(
  f: (...inputs: Tensor[]) => Tensor | readonly Tensor[],
  inputs: readonly Tensor[],
  {
    step = 1e-5,
    atol = 1e-7,
    rtol = 1e-5,
    seed = 1,
  }: { step?: number; atol?: number; rtol?: number; seed?: number } = {},
): void {
  const floats = (values: Tensor | readonly Tensor[]): Tensor[] =>
    (Array.isArray(values) ? (values as readonly Tensor[]) : [values as Tensor]).filter(
      (output) => output.dtype === "f64",
    );
  const objective = (values: readonly Tensor[]): Tensor => {
    const random = mulberry32(seed);
    return floats(f(...values))
      .map((output) => {
        const cotangent = Float64Array.from({ length: output.size }, () => random() * 2 - 1);
        return sum(mul(output, tensor(cotangent, { shape: output.shape })));
      })
      .reduce((total, part) => total.add(part));
  };
  scope(() => {
    const leaves = inputs.map((input) => {
      if (input.requiresGrad && input.dtype !== "f64")
        throw new Error(`gradcheck: found an input of ${input.dtype}, expected f64`);
      const leaf = input.detach();
      leaf.requiresGrad = input.requiresGrad;
      return leaf;
    });
    backward(objective(leaves));
    leaves.forEach((leaf, index) => {
      if (!leaf.requiresGrad) return;
      const analytic = leaf.grad ? leaf.grad.data() : new Float64Array(leaf.size);
      const values = leaf.data() as Float64Array;
      const at = (i: number, delta: number): number =>
        noGrad(() =>
          scope(() => {
            const moved = values.slice();
            moved[i]! += delta;
            const point = tensor(moved, { shape: leaf.shape });
            return objective(leaves.map((other, j) => (j === index ? point : other))).item();
          }),
        );
      for (let i = 0; i < values.length; i++) {
        const numeric = (at(i, step) - at(i, -step)) / (2 * step);
        const error = Math.abs(Number(analytic[i]) - numeric);
        if (!(error <= atol + rtol * Math.abs(numeric))) {
          throw new Error(
            `gradcheck: input ${index}, element ${i}: gradient is ${analytic[i]}, central difference is ${numeric}`,
          );
        }
      }
    });
  });
}

/** A small seeded generator of numbers in [0, 1), for test data. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
