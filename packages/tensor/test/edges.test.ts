import { describe, expect, it } from "vitest";
import { native } from "@md/native";
import * as md from "../src/index.js";
import { binaryKinds, unaryKinds } from "../src/ops/elementwise.js";

const generator = new md.Generator(1);
const empty = (...shape: number[]): md.Tensor => md.zeros(shape, { requiresGrad: true });

describe("tensors without elements", () => {
  it("reduce to neutral elements", () => {
    expect(md.sum(empty(0, 3), { dim: 0 }).toFlatArray()).toEqual([0, 0, 0]);
    expect(md.sum(empty(0, 3), { dim: 1 }).shape).toEqual([0]);
    expect(md.mean(empty(0)).item()).toBeNaN();
    expect(md.any(md.zeros([0], { dtype: "bool" })).item()).toBe(0);
    expect(md.all(md.zeros([0], { dtype: "bool" })).item()).toBe(1);
    expect(() => md.amax(empty(0, 3), { dim: 0 })).toThrow(md.ValueError);
    expect(md.amax(empty(0, 3), { dim: 1 }).shape).toEqual([0]);
    expect(() => md.argmax(empty(2, 0), { dim: 1 })).toThrow(/\[argmax\] axis 1/);
    expect(() => md.variance(md.ones([1]))).toThrow(/found 1 elements/);
  });

  const operations: [string, () => [md.Tensor[], md.Tensor]][] = [
    ["softmax", () => withOperands([empty(0, 4)], ([x]) => md.softmax(x!))],
    ["softmax over nothing", () => withOperands([empty(3, 0)], ([x]) => md.logSoftmax(x!))],
    [
      "layerNorm",
      () =>
        withOperands([empty(0, 4), md.ones([4], { requiresGrad: true })], ([x, weight]) =>
          md.layerNorm(x!, { weight }),
        ),
    ],
    [
      "groupNorm",
      () =>
        withOperands([empty(0, 4, 2), md.ones([4], { requiresGrad: true })], ([x, weight]) =>
          md.groupNorm(x!, 2, { weight }),
        ),
    ],
    [
      "batchNorm with given statistics",
      () =>
        withOperands([empty(0, 4), md.ones([4], { requiresGrad: true })], ([x, weight]) => {
          const [mean, variance] = [md.zeros([4]), md.ones([4])];
          return md.batchNorm(x!, { weight, mean, variance }).output;
        }),
    ],
    ["dropout", () => withOperands([empty(0, 4)], ([x]) => md.dropout(x!, 0.5, generator))],
    [
      "crossEntropy",
      () =>
        withOperands([empty(0, 4)], ([x]) =>
          md.crossEntropy(x!, md.zeros([0], { dtype: "i64" }), { reduction: "sum" }),
        ),
    ],
    [
      "conv2d",
      () =>
        withOperands([empty(0, 2, 5, 5), md.ones([3, 2, 3, 3], { requiresGrad: true })], ([x, w]) => md.conv2d(x!, w!)),
    ],
    [
      "conv2d without channels",
      () => withOperands([empty(2, 0, 5, 5), empty(3, 0, 3, 3)], ([x, w]) => md.conv2d(x!, w!)),
    ],
    ["maxPool2d", () => withOperands([empty(0, 2, 4, 4)], ([x]) => md.maxPool2d(x!, 2))],
    ["avgPool2d", () => withOperands([empty(2, 0, 4, 4)], ([x]) => md.avgPool2d(x!, 2))],
    ["interpolate", () => withOperands([empty(0, 2, 4, 4)], ([x]) => md.interpolate(x!, 3))],
  ];
  function withOperands(operands: md.Tensor[], run: (operands: md.Tensor[]) => md.Tensor): [md.Tensor[], md.Tensor] {
    return [operands, run(operands)];
  }
  for (const [name, run] of operations) {
    it(`go through ${name} and back`, () => {
      md.scope(() => {
        const [operands, y] = run();
        md.sum(y).backward();
        for (const operand of operands) {
          expect(operand.grad!.shape).toEqual(operand.shape);
          expect(operand.grad!.toFlatArray().every((value) => value === 0)).toBe(true);
        }
      });
    });
  }
});

describe("special values", () => {
  it("let NaN win in amax, amin, argmax and maxPool2d", () => {
    const values = Array.from({ length: 40 }, (_, i) => (i === 23 ? NaN : i));
    const x = md.tensor(values);
    expect(md.amax(x).item()).toBeNaN();
    expect(md.amin(x).item()).toBeNaN();
    expect(md.argmax(x).item()).toBe(23);
    expect(md.maxPool2d(md.reshape(x, [1, 1, 5, 8]), [5, 8]).item()).toBeNaN();
  });

  it("take infinities in softmax and crossEntropy", () => {
    const x = md.tensor([[-Infinity, 0, -Infinity, 0]], { requiresGrad: true });
    expect(md.softmax(x).toFlatArray()).toEqual([0, 0.5, 0, 0.5]);
    const loss = md.crossEntropy(x, md.tensor([1], { dtype: "i64" }));
    expect(Math.abs(loss.item() - Math.LN2)).toBeLessThan(1e-6);
    loss.backward();
    expect(x.grad!.toFlatArray()).toEqual([0, -0.5, 0, 0.5]);
  });

  it("of activations are 0 and 1 far from zero", () => {
    for (const dtype of ["f32", "f64"] as const) {
      for (const activation of [md.gelu, (x: md.Tensor) => md.gelu(x, "tanh"), md.silu, md.sigmoid]) {
        const x = md.tensor([-1e38, -1e20, -1e14, -1e4, 1e4, 1e14, 1e20, 1e38], { dtype, requiresGrad: true });
        md.sum(activation(x)).backward();
        const slope = activation === md.sigmoid ? 0 : 1;
        expect(x.grad!.toFlatArray().map((g) => g + 0)).toEqual([0, 0, 0, 0, slope, slope, slope, slope]);
      }
    }
  });

  it("stay exact far from zero", () => {
    const far = md.tensor([1e4, 1e4 + 1, 1e4 + 2]);
    expect(Math.abs(md.logSoftmax(far).toFlatArray()[2]! + 0.40760597)).toBeLessThan(1e-6);
    expect(Math.abs(md.variance(far, { correction: 0 }).item() - 2 / 3)).toBeLessThan(1e-6);
    const normed = md.layerNorm(far).toFlatArray();
    expect(Math.abs(normed[2]! - Math.sqrt(1.5))).toBeLessThan(1e-4);
    const many = md.full([1_000_000], 0.1);
    expect(Math.abs(md.sum(many).item() - 100_000)).toBeLessThan(0.05);
  });

  it("of cross-entropy do not depend on where the logits lie", () => {
    const gradient = [0.25 * 0.03205860328, 0.25 * (0.08714431874 - 1), 0.25 * 0.2368828181, 0.25 * 0.6439142599];
    for (const offset of [0, 1e3, 1e5, 1e7]) {
      for (const labelSmoothing of [0, 0.1]) {
        const logits = md.tensor([[0, 1, 2, 3].map((x) => x + offset)], { requiresGrad: true });
        const loss = md.crossEntropy(logits, md.tensor([1], { dtype: "i32" }), { labelSmoothing });
        expect(Math.abs(loss.item() - (2.4401896985 - labelSmoothing * 0.5))).toBeLessThan(1e-6);
        md.mul(loss, 0.25).backward();
        const smoothed = (i: number): number => 0.25 * labelSmoothing * ((i === 1 ? 1 : 0) - 0.25);
        logits.grad!.toFlatArray().forEach((g, i) => {
          expect(Math.abs(g - gradient[i]! - smoothed(i))).toBeLessThan(1e-7);
        });
      }
    }
  });

  it("are those of each row alone where rows are wide and many", () => {
    md.scope(() => {
      const row = md.tensor(Array.from({ length: 3000 }, (_, i) => Math.sin(i)));
      const alone = [md.softmax(row, -1), md.logSoftmax(row, -1)];
      const many = md.contiguous(md.expand(row, [3000, 3000]));
      [md.softmax(many, -1), md.logSoftmax(many, -1)].forEach((y, i) => {
        expect(md.amax(md.abs(md.sub(y, alone[i]!))).item()).toBe(0);
      });
    });
  });

  it("share the gradient of amax among equals, and give a zero vector none in normalize", () => {
    md.scope(() => {
      const x = md.tensor(
        [
          [1, 3, 3],
          [2, 0, 1],
        ],
        { requiresGrad: true },
      );
      md.sum(md.amax(x, { dim: 1 })).backward();
      expect(x.grad!.toFlatArray()).toEqual([0, 0.5, 0.5, 1, 0, 0]);
      const zero = md.zeros([1, 3], { requiresGrad: true });
      md.sum(md.normalize(zero)).backward();
      expect(zero.grad!.toFlatArray().every(Number.isFinite)).toBe(true);
    });
  });
});

describe("errors name the op and what does not fit", () => {
  const x = md.ones([2, 3, 4, 4]);
  const cases: [string, () => unknown, new (message: string) => Error, RegExp][] = [
    [
      "an extent beyond 32 bits",
      () => md.zeros([2, 2 ** 31]),
      md.ShapeError,
      /\[full\] .* 2147483648, .* 0 to 2147483647/,
    ],
    ["a negative extent", () => md.zeros([2, -3]), md.ShapeError, /\[full\] shape \[2,-3\] has extent -3, expected/],
    [
      "a stride beyond 32 bits",
      () => md.avgPool2d(x, 1, { stride: 2 ** 31 }),
      md.ValueError,
      /found 2147483648, expected an integer from -2147483647 to 2147483647/,
    ],
    [
      "a mask's length beyond 32 bits",
      () => md.masks.varlen({ cuSeqlensQ: [0, 2 ** 31] }),
      md.ValueError,
      /cuSeqlensQ: found 2147483648, expected an integer from 0 to 2147483647/,
    ],
    ["a repeated axis", () => md.sum(x, { dim: [1, -3] }), md.ShapeError, /\[sum\] .*axis 1 twice/],
    ["an axis beyond", () => md.softmax(x, 4), md.ShapeError, /\[softmax\] axis 4/],
    [
      "integers where floats are taken",
      () => md.gelu(md.ones([2], { dtype: "i32" })),
      md.DTypeError,
      /\[gelu\] x has dtype i32/,
    ],
    [
      "shapes that do not broadcast",
      () => md.mul(md.ones([2]), md.ones([3])),
      md.ShapeError,
      /\[mul\] shapes \[2\] and/,
    ],
    [
      "a cotangent of another dtype",
      () => md.silu(md.ones([2], { requiresGrad: true })).backward({ gradient: md.ones([2], { dtype: "f64" }) }),
      md.DTypeError,
      /f64, expected f32/,
    ],
    [
      "a form of gelu that there is not",
      () => md.gelu(x, "Tanh" as "tanh"),
      md.ValueError,
      /\[gelu\] approximate is Tanh, expected one of none, tanh/,
    ],
    [
      "an activation that there is not",
      () => md.linear(md.ones([2, 3]), md.ones([4, 3]), null, { activation: "GELU" as "gelu" }),
      md.ValueError,
      /\[linear\] activation is GELU, expected one of none, relu, gelu/,
    ],
    [
      "a mask that there is not",
      () => {
        const q = md.ones([1, 1, 2, 4]);
        return md.maskedAttention(q, q, q, { mask: { kind: "Causal" as "causal" } });
      },
      md.ValueError,
      /\[maskedAttention\] mask.kind is Causal, expected one of none, level2/,
    ],
    [
      "a reduction that there is not",
      () => md.crossEntropy(md.ones([2, 3]), md.zeros([2], { dtype: "i64" }), { reduction: "Sum" as "sum" }),
      md.ValueError,
      /\[crossEntropy\] reduction is Sum, expected one of mean, sum, none/,
    ],
    ["a mean of integers", () => md.mean(md.ones([2], { dtype: "i32" })), md.DTypeError, /\[mean\] x has dtype i32/],
    [
      "an index beyond the classes",
      () => md.crossEntropy(md.ones([2, 3]), md.tensor([0, 3], { dtype: "i64" })),
      md.ValueError,
      /target 3 at item 1, expected 0 to 2/,
    ],
    [
      "a negative index",
      () => md.crossEntropy(md.ones([2, 3]), md.tensor([0, -1], { dtype: "i32" })),
      md.ValueError,
      /target -1/,
    ],
    ["a float target", () => md.crossEntropy(md.ones([2, 3]), md.ones([2])), md.DTypeError, /f32, expected i32 or i64/],
    [
      "a target of another shape",
      () => md.crossEntropy(md.ones([2, 3]), md.ones([3], { dtype: "i64" })),
      md.ShapeError,
      /\[3\], expected \[2\]/,
    ],
    [
      "a smoothing above 1",
      () => md.crossEntropy(md.ones([1, 3]), md.zeros([1], { dtype: "i64" }), { labelSmoothing: 2 }),
      md.ValueError,
      /labelSmoothing is 2/,
    ],
    [
      "a loss that would broadcast",
      () => md.mseLoss(md.ones([2, 1]), md.ones([2])),
      md.ShapeError,
      /\[mseLoss\] target has shape \[2\], expected \[2,1\]/,
    ],
    [
      "a weight of another width",
      () => md.layerNorm(x, { weight: md.ones([5]) }),
      md.ShapeError,
      /weight has shape \[5\], expected \[4\]/,
    ],
    [
      "a scale of other items",
      () => md.layerNorm(md.ones([2, 3, 4]), { scale: md.ones([3, 4]), shift: md.ones([3, 4]) }),
      md.ShapeError,
      /scale has shape \[3,4\], expected some of the first 2 axes, then the last 1 of x \[2,3,4\]/,
    ],
    [
      "a scale of more axes than x",
      () => md.layerNorm(md.ones([4]), { scale: md.ones([1, 4]), shift: md.ones([1, 4]) }),
      md.ShapeError,
      /scale has shape \[1,4\]/,
    ],
    [
      "a shift unlike the scale",
      () => md.layerNorm(md.ones([2, 4]), { scale: md.ones([2, 4]), shift: md.ones([4]) }),
      md.ShapeError,
      /shift has shape \[4\], expected \[2,4\]/,
    ],
    ["a scale alone", () => md.layerNorm(x, { scale: md.ones([4]) }), md.ValueError, /expected both or none/],
    ["a shift alone", () => md.layerNorm(x, { shift: md.ones([4]) }), md.ValueError, /expected both or none/],
    ["groups that do not divide", () => md.groupNorm(x, 2), md.ShapeError, /2 groups do not divide the 3 channels/],
    ["half of the statistics", () => md.batchNorm(x, { mean: md.ones([3]) }), md.ValueError, /expected both or none/],
    ["a batch of one", () => md.batchNorm(md.ones([1, 3])), md.ShapeError, /at least 2 elements/],
    ["an eps of 0", () => md.layerNorm(x, { eps: 0 }), md.ValueError, /eps is 0/],
    ["channels that do not fit", () => md.conv2d(x, md.ones([2, 2, 1, 1])), md.ShapeError, /does not fit 1 groups/],
    [
      "a kernel beyond the image",
      () => md.conv2d(x, md.ones([1, 3, 5, 5])),
      md.ShapeError,
      /spans 5 pixels of an image of 4/,
    ],
    ["a stride of 0", () => md.conv2d(x, md.ones([1, 3, 1, 1]), { stride: 0 }), md.ValueError, /found 0/],
    [
      "a stride that is no integer",
      () => md.conv2d(x, md.ones([1, 3, 1, 1]), { stride: 1.5 }),
      md.ValueError,
      /found 1.5/,
    ],
    ["too much padding", () => md.maxPool2d(x, 2, { padding: 2 }), md.ValueError, /half of the kernel/],
    [
      "an image of the wrong rank",
      () => md.avgPool2d(md.ones([3, 4]), 2),
      md.ShapeError,
      /\[batch, channels, height, width\]/,
    ],
    ["a size of 0", () => md.interpolate(x, 0), md.ShapeError, /extent of 0/],
    [
      "operands of two dtypes",
      () => md.conv2d(x, md.ones([1, 3, 1, 1], { dtype: "f64" })),
      md.DTypeError,
      /weight has dtype f64, expected f32/,
    ],
  ];
  it("every elementwise one", () => {
    const slots = (dtype: md.DType): number[] => [2, 3].map((n) => md.zeros([n], { dtype }).slot);
    const [[flags], floats, pair] = [slots("bool"), slots("f32"), slots("bool")];
    for (const [code, kind] of unaryKinds.entries())
      expect(() => native.unary(code, kind === "logicalNot" ? floats[0]! : flags!, 0, 0)).toThrow(`[${kind}] x has`);
    for (const [code, kind] of binaryKinds.entries()) {
      const [a, b] = kind.startsWith("logical") ? pair : floats;
      expect(() => native.binary(code, a!, b!)).toThrow(`[${kind}] shapes [2] and [3]`);
    }
  });

  for (const [name, run, kind, message] of cases) {
    it(name, () => {
      expect(run).toThrow(kind);
      expect(run).toThrow(message);
    });
  }
});
