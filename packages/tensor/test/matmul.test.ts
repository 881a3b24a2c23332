import { native } from "@md/native";
import { afterEach, describe, expect, it } from "vitest";
import {
  cast,
  DTypeError,
  einsum,
  linear,
  matmul,
  mulberry32,
  noGrad,
  ones,
  ShapeError,
  sum,
  tensor,
  type Tensor,
  transpose,
  UnsupportedError,
  ValueError,
  zeros,
} from "../src/index.js";

const random = mulberry32(3);
const matrix = (...shape: number[]): Tensor =>
  tensor(
    Float32Array.from({ length: shape.reduce((n, extent) => n * extent, 1) }, () => random() * 2 - 1),
    { shape },
  );

/** Relative distance of an f32 result from the same product in f64. */
function error(f: (...operands: Tensor[]) => Tensor, ...operands: Tensor[]): number {
  const actual = f(...operands).toFlatArray();
  const exact = f(...operands.map((operand) => cast(operand, "f64"))).toFlatArray();
  let difference = 0;
  let norm = 0;
  exact.forEach((value, i) => {
    difference += (actual[i]! - value) ** 2;
    norm += value ** 2;
  });
  return Math.sqrt(difference / norm);
}

const threads = native.getNumThreads();
afterEach(() => native.setNumThreads(threads));

describe("matmul", () => {
  const shapes: [m: number, k: number, n: number][] = [
    [1, 300, 70],
    [150, 1, 90],
    [5, 520, 5],
    [7, 600, 33],
    [70, 300, 3],
    [3, 300, 70],
    [200, 130, 17],
    [150, 513, 40],
    [40, 270, 800],
  ];
  for (const [m, k, n] of shapes) {
    it(`agrees with f64 in all layouts: ${m} x ${k} x ${n}`, () => {
      const [a, b, at, bt] = [matrix(m, k), matrix(k, n), matrix(k, m), matrix(n, k)];
      for (const count of [1, 2, 5]) {
        native.setNumThreads(count);
        expect(error(matmul, a, b)).toBeLessThan(1e-6);
        expect(error((x, y) => matmul(transpose(x), y), at, b)).toBeLessThan(1e-6);
        expect(error((x, y) => matmul(x, transpose(y)), a, bt)).toBeLessThan(1e-6);
        expect(error((x, y) => matmul(transpose(x), transpose(y)), at, bt)).toBeLessThan(1e-6);
      }
    });
  }

  it("cuts many and few batch items among threads", () => {
    for (const count of [1, 2, 5]) {
      native.setNumThreads(count);
      expect(error(matmul, matrix(3, 90, 80), matrix(3, 80, 70))).toBeLessThan(1e-6);
      expect(error(matmul, matrix(40, 30, 20), matrix(40, 20, 50))).toBeLessThan(1e-6);
      expect(error(matmul, matrix(2, 6, 900), matrix(2, 900, 6))).toBeLessThan(1e-6);
    }
  });

  it("gives the same bits again", () => {
    const [a, b] = [matrix(16, 4000), matrix(4000, 16)];
    native.setNumThreads(2);
    const first = matmul(a, b).data();
    for (let i = 0; i < 3; i++) expect(matmul(a, b).data()).toEqual(first);
  });

  it("carries NaN and infinity to the rows and columns that have them, and no further", () => {
    const a = tensor([Number.NaN, 1, 1, Number.POSITIVE_INFINITY, 1, 1], { shape: [3, 2] });
    expect(matmul(a, tensor([1, 2], { shape: [2, 1] })).toFlatArray()).toEqual([
      Number.NaN,
      Number.POSITIVE_INFINITY,
      3,
    ]);
  });

  it("names what does not fit", () => {
    expect(() => matmul(matrix(2, 3), matrix(4, 5))).toThrow(ShapeError);
    expect(() => matmul(matrix(2, 3), matrix(4, 5))).toThrow(
      "[matmul] shapes [2,3] and [4,5] do not multiply: b has 4 rows, expected 3",
    );
    expect(() => matmul(matrix(2, 2, 3), matrix(3, 3, 4))).toThrow(ShapeError);
    expect(() => matmul(matrix(2, 3), tensor(1))).toThrow(ShapeError);
    expect(() => matmul(matrix(2, 3), cast(matrix(3, 2), "f64"))).toThrow(DTypeError);
    expect(() => matmul(zeros([2, 3], { dtype: "i32" }), zeros([3, 2], { dtype: "i32" }))).toThrow(DTypeError);
  });
});

describe("linear", () => {
  it("agrees with f64 at the size of a layer, gradients included", () => {
    const [x, weight, bias] = [matrix(700, 120), matrix(130, 120), matrix(130)];
    const gradients = (activation: "none" | "relu" | "gelu" | "geluTanh" | "silu", operands: Tensor[]): number[][] => {
      const leaves = operands.map((operand) => {
        const leaf = operand.detach();
        leaf.requiresGrad = true;
        return leaf;
      });
      const y = linear(leaves[0]!, leaves[1]!, leaves[2]!, { activation });
      sum(y.mul(y)).backward();
      return [y.toFlatArray(), ...leaves.map((leaf) => leaf.grad!.toFlatArray())];
    };
    for (const activation of ["none", "relu", "gelu", "geluTanh", "silu"] as const) {
      const actual = gradients(activation, [x, weight, bias]);
      const exact = gradients(
        activation,
        [x, weight, bias].map((operand) => cast(operand, "f64")),
      );
      exact.forEach((values, i) => {
        const norm = Math.hypot(...values.slice(0, 10000));
        const difference = Math.hypot(...values.slice(0, 10000).map((value, j) => value - actual[i]![j]!));
        expect(difference / norm).toBeLessThan(2e-6);
      });
    }
  });

  it("gives the same output with and without a gradient", () => {
    const [x, weight] = [matrix(20, 9), matrix(11, 9)];
    weight.requiresGrad = true;
    const recorded = linear(x, weight, null, { activation: "gelu" });
    expect(noGrad(() => linear(x, weight, null, { activation: "gelu" })).data()).toEqual(recorded.data());
  });

  it("passes the gradient of a residual on, beside those that come another way", () => {
    const [x, weight] = [cast(matrix(6, 9), "f64"), cast(matrix(9, 9), "f64")];
    const gradients = (layer: (x: Tensor, weight: Tensor) => Tensor): number[][] => {
      const leaves = [x.detach(), weight.detach()];
      for (const leaf of leaves) leaf.requiresGrad = true;
      const hidden = leaves[0]!.mul(2);
      const y = layer(layer(hidden, leaves[1]!), leaves[1]!);
      const cotangent = ones(y.shape, { dtype: "f64" });
      for (let i = 0; i < 2; i++) y.backward({ gradient: cotangent, retainGraph: true });
      expect(cotangent.toFlatArray()).toEqual(new Array(54).fill(1));
      return leaves.map((leaf) => leaf.grad!.toFlatArray());
    };
    for (const activation of ["none", "relu", "gelu"] as const) {
      const fused = gradients((h, w) => linear(h, w, null, { activation, residual: h }));
      const composed = gradients((h, w) => h.add(linear(h, w, null, { activation })));
      fused.forEach((values, i) => values.forEach((value, j) => expect(value).toBeCloseTo(composed[i]![j]!, 12)));
    }
  });

  it("differentiates the residual alone", () => {
    const residual = matrix(4, 5);
    residual.requiresGrad = true;
    sum(linear(matrix(4, 3), matrix(5, 3), null, { activation: "relu", residual })).backward();
    expect(residual.grad!.toFlatArray()).toEqual(new Array(20).fill(1));
  });

  it("names what does not fit", () => {
    expect(() => linear(matrix(2, 3), matrix(4, 5))).toThrow(
      "[linear] x has shape [2,3], expected [*,5] for weight [4,5]",
    );
    expect(() => linear(matrix(2, 3), matrix(4, 3), matrix(3))).toThrow("[linear] bias has shape [3], expected [4]");
    expect(() => linear(matrix(2, 3), matrix(4, 3), null, { residual: matrix(4) })).toThrow(
      "[linear] residual has shape [4], expected [2,4]",
    );
    expect(() => linear(matrix(2, 3), matrix(4, 3), null, { residual: cast(matrix(2, 4), "f64") })).toThrow(DTypeError);
    expect(() => linear(matrix(2, 3), matrix(3))).toThrow(ShapeError);
    expect(() => linear(matrix(2, 3), cast(matrix(4, 3), "f64"))).toThrow(DTypeError);
  });
});

describe("einsum", () => {
  it("names what does not fit", () => {
    expect(() => einsum("ij,jk->ik", matrix(2, 3))).toThrow(ValueError);
    expect(() => einsum("i1->i", matrix(2, 3))).toThrow(ValueError);
    expect(() => einsum("ij->ik", matrix(2, 3))).toThrow(ValueError);
    expect(() => einsum("ii->i", matrix(2, 2))).toThrow(UnsupportedError);
    expect(() => einsum("i,i,i->i", matrix(2), matrix(2), matrix(2))).toThrow(UnsupportedError);
    expect(() => einsum("ij->i", matrix(2))).toThrow(ShapeError);
    expect(() => einsum("ij,jk->ik", matrix(2, 3), matrix(4, 2))).toThrow('axis "j" of "ij,jk->ik" has extent 4');
  });
});

describe("the rows of a product", () => {
  it.each([
    [64, 256],
    [256, 64],
    [288, 72],
  ])("have the same bits in a larger one, %i -> %i", (from, to) => {
    const random = mulberry32(7);
    const filled = (...shape: number[]): Tensor =>
      tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => random() - 0.5)).reshape(shape);
    const [x, weight] = [filled(616, from), filled(to, from)];
    const all = linear(x, weight).data() as Float32Array;
    for (const rows of [13, 77, 231]) {
      expect(linear(x.narrow(0, 0, rows), weight).data()).toEqual(all.slice(0, rows * to));
    }
  });
});
