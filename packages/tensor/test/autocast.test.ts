import { describe, expect, it } from "vitest";
import * as md from "../src/index.js";

const randn = (shape: number[], seed: number, dtype: md.DType = "f32"): md.Tensor =>
  md.randn(shape, { generator: new md.Generator(seed), dtype });
const relative = (found: md.Tensor, exact: md.Tensor): number => {
  const [a, b] = [found.toFlatArray(), exact.toFlatArray()];
  return Math.hypot(...a.map((value, i) => value - b[i]!)) / Math.hypot(...b);
};
const epsilon = { f16: 2 ** -10, bf16: 2 ** -7 };

/** Linear, norm, attention, activation, loss: an op of each kind, with f32 parameters. */
function network(): { parameters: md.Tensor[]; loss: () => md.Tensor } {
  const parameters = [randn([16, 6], 1), randn([16], 2), md.ones([8]), randn([5, 16], 4)];
  for (const parameter of parameters) parameter.requiresGrad = true;
  const [weight, bias, norm, head] = parameters as [md.Tensor, md.Tensor, md.Tensor, md.Tensor];
  const x = randn([3, 4, 6], 5);
  const loss = (): md.Tensor => {
    const hidden = md
      .gelu(md.linear(x, weight, bias))
      .reshape([3, 4, 2, 8])
      .permute([0, 2, 1, 3]);
    const mixed = md.maskedAttention(hidden, hidden, hidden, { qNorm: { weight: norm } });
    const merged = md.add(mixed, hidden.to("f32")).permute([0, 2, 1, 3]).reshape([3, 4, 16]);
    return md.mseLoss(md.matmul(md.layerNorm(merged), head.transpose()), randn([3, 4, 5], 6));
  };
  return { parameters, loss };
}

describe.each(["f16", "bf16"] as const)("autocast to %s", (dtype) => {
  it("computes products in the low dtype, and what needs range in f32", () => {
    const x = randn([2, 4, 4], 1);
    const low = x.to(dtype);
    const image = randn([1, 2, 5, 5], 2);
    const kernel = randn([3, 2, 3, 3], 3);
    const q = randn([1, 1, 4, 4], 4);
    md.autocast(dtype, () => {
      for (const y of [
        md.matmul(x, x),
        md.linear(low, randn([3, 4], 5)),
        md.conv2d(image, kernel),
        md.maskedAttention(q, q, q),
      ])
        // prettier-ignore
        expect(y.dtype).toBe(dtype);
      for (const y of [
        md.softmax(low),
        md.logSoftmax(low),
        md.layerNorm(low, { weight: md.ones([4]) }),
        md.groupNorm(low, 2),
        md.batchNorm(low).output,
        md.mseLoss(low, x),
        md.l1Loss(low, low),
        md.smoothL1Loss(low, low),
        md.binaryCrossEntropyWithLogits(low, low),
        md.crossEntropy(low, md.zeros([2, 4], { dtype: "i64" })),
        md.sum(low),
        md.mean(low),
        md.cumsum(low, 0),
        md.exp(low),
        md.pow(low, 2),
        md.softplus(low),
        md.add(low, x),
      ])
        expect(y.dtype).toBe("f32");
      for (const y of [md.relu(low), md.gelu(low), md.add(low, low), md.mul(low, 2), md.amax(low), md.cat([low, low])])
        expect(y.dtype).toBe(dtype);
      expect(md.relu(x).dtype).toBe("f32");
      expect(md.matmul(x.to("f64"), x.to("f64")).dtype).toBe("f64");
    });
    expect(md.matmul(x, x).dtype).toBe("f32");
  });

  it("keeps the residual of a linear layer in f32, or fuses one of the low dtype", () => {
    const [x, weight, residual] = [randn([5, 4], 1), randn([3, 4], 2), randn([5, 3], 3)];
    md.autocast(dtype, () => {
      const kept = md.linear(x, weight, null, { residual });
      expect(kept.dtype).toBe("f32");
      expect(kept.data()).toEqual(md.add(residual, md.linear(x, weight)).data());
      const low = md.linear(x, weight, null, { residual: residual.to(dtype) });
      expect(low.dtype).toBe(dtype);
      expect(relative(low, kept)).toBeLessThan(2 * epsilon[dtype]);
    });
  });

  it("gives f32 parameters f32 gradients, near those of f32", () => {
    const { parameters, loss } = network();
    loss().backward();
    const exact = parameters.map((parameter) => parameter.grad!);
    for (const parameter of parameters) parameter.grad = null;
    const low = md.autocast(dtype, loss);
    low.backward();
    expect(low.dtype).toBe("f32");
    parameters.forEach(({ grad }, i) => {
      expect(grad!.dtype).toBe("f32");
      const error = relative(grad!, exact[i]!);
      expect(error).toBeGreaterThan(0);
      expect(error).toBeLessThan(8 * epsilon[dtype]);
    });
  });

  it("gives the same gradients whether backward runs inside or outside, or the forward pass runs again in it", () => {
    const gradients = (run: (loss: () => md.Tensor) => void): unknown[] => {
      const { parameters, loss } = network();
      run(loss);
      return parameters.map(({ grad }) => grad!.data());
    };
    const outside = gradients((loss) => md.autocast(dtype, loss).backward());
    expect(gradients((loss) => md.autocast(dtype, () => loss().backward()))).toEqual(outside);
    const one = md.ones([1], { requiresGrad: true });
    const again = (loss: () => md.Tensor): md.Tensor => md.checkpoint((x) => md.mul(x, loss()), [one]);
    expect(gradients((loss) => md.autocast(dtype, () => again(loss)).backward())).toEqual(outside);
  });

  it("ends within f32, after an error, and refuses a promise", () => {
    const x = randn([2, 2], 1);
    md.autocast(dtype, () => {
      expect(md.autocast("f32", () => md.matmul(x, x)).dtype).toBe("f32");
      expect(md.matmul(x, x).dtype).toBe(dtype);
    });
    const failing = (): void => {
      throw new Error("inside");
    };
    expect(() => md.autocast(dtype, failing)).toThrow("inside");
    expect(() => md.autocast(dtype, () => Promise.resolve())).toThrow(md.UnsupportedError);
    expect(md.matmul(x, x).dtype).toBe("f32");
  });

  it("keeps norms and rotary tables of attention in f32", () => {
    const q = randn([1, 2, 3, 12], 1, dtype);
    const weight = md.full([12], 1 + 2 ** -12, { requiresGrad: true });
    const qRotary = md.rotaryTable(randn([3, 3], 2), 12);
    const out = md.maskedAttention(q, q, q, { qNorm: { weight }, qRotary });
    expect(out.dtype).toBe(dtype);
    md.sum(out).backward();
    expect(weight.grad!.dtype).toBe("f32");
  });
});
