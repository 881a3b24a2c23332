import { assign, backward, compareNumbers, mulberry32, noGrad, scope, sum, type Tensor, tensor } from "@md/tensor";

/** Random f64 numbers in [-1, 1). */
export function random(shape: readonly number[], seed = 3): Tensor {
  const draw = mulberry32(seed);
  const size = shape.reduce((total, extent) => total * extent, 1);
  return tensor(
    Float64Array.from({ length: size }, () => draw() * 2 - 1),
    { shape },
  );
}

/** Compares the gradient of each of `leaves` (f64, named) under `run` with central differences, along a fixed cotangent. */
export function checkGradients(leaves: ReadonlyMap<string, Tensor>, run: () => Tensor): void {
  const step = 1e-5;
  scope(() => {
    const objective = (): Tensor => {
      const output = run();
      return sum(output.mul(random(output.shape, 99)));
    };
    for (const leaf of leaves.values()) leaf.grad = null;
    backward(objective());
    for (const [name, leaf] of leaves) {
      const analytic = leaf.grad ? leaf.grad.toFlatArray() : new Array<number>(leaf.size).fill(0);
      const values = leaf.data() as Float64Array;
      const at = (i: number, delta: number): number =>
        noGrad(() =>
          scope(() => {
            const moved = values.slice();
            moved[i]! += delta;
            assign(leaf, tensor(moved, { shape: leaf.shape }));
            return objective().item();
          }),
        );
      const numeric = analytic.map((_, i) => (at(i, step) - at(i, -step)) / (2 * step));
      assign(leaf, tensor(values, { shape: leaf.shape }));
      compareNumbers(`gradient of ${name}`, analytic, numeric, 1e-6);
    }
  });
}
