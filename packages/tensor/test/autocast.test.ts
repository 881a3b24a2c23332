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

const castsOf = <T>(body: () => T): { result: T; casts: number } => {
  const { result, profile } = md.profile(body);
  return { result, casts: profile.rows.find(({ op }) => op === "cast")?.calls ?? 0 };
};

describe.each(["f16", "bf16"] as const)("the parameters that autocast keeps in %s", (dtype) => {
  const parameter = (shape: number[], seed: number): md.Tensor => {
    const x = randn(shape, seed);
    x.requiresGrad = true;
    return x;
  };
  const x = randn([3, 6], 1);

  it("are cast once for all uses, to the bits of a cast at each use", () => {
    const run = (cacheEnabled: boolean): { numbers: unknown[]; casts: number } => {
      const [weight, bias] = [parameter([6, 6], 2), parameter([6], 3)];
      const forward = (): md.Tensor => {
        let hidden = x;
        // What a scope frees inside is not the cache's.
        for (let i = 0; i < 4; i++) hidden = md.scope(() => md.gelu(md.linear(hidden, weight, bias)));
        return md.mseLoss(hidden, x);
      };
      const { result: loss, casts } = castsOf(() => md.autocast(dtype, forward, { cacheEnabled }));
      loss.backward();
      for (const { grad } of [weight, bias]) expect(grad!.dtype).toBe("f32");
      return { numbers: [loss.data(), weight.grad!.data(), bias.grad!.data()], casts };
    };
    const [kept, plain] = [run(true), run(false)];
    expect(plain.casts - kept.casts).toBe(2 * 3);
    expect(kept.numbers).toEqual(plain.numbers);
  });

  it("serve what records gradients after what does not, and checkpoints", () => {
    const weight = parameter([6, 6], 2);
    const product = (a: md.Tensor): md.Tensor => md.linear(a, weight);
    const gradient = (body: () => md.Tensor, cacheEnabled = true): unknown => {
      weight.grad = null;
      md.autocast(dtype, body, { cacheEnabled }).backward();
      return weight.grad!.data();
    };
    const whole = (): md.Tensor => md.sum(product(product(x)));
    const expected = gradient(whole, false);
    const { result, casts } = castsOf(() =>
      gradient(() => {
        md.noGrad(whole);
        return whole();
      }),
    );
    expect(result).toEqual(expected);
    // x, what is summed, twice; the weight once; on the way back the gradient of what is summed and of both uses.
    expect(casts).toBe(2 * 2 + 1 + 3);
    expect(gradient(() => md.sum(md.checkpoint((a) => product(product(a)), [x])))).toEqual(expected);
    expect(gradient(() => md.autocast("f32", () => md.autocast(dtype, whole)))).toEqual(expected);
  });

  it("are cast anew where they have changed, or moved to other memory", () => {
    const weight = parameter([6, 6], 2);
    const product = (): unknown => md.linear(x, weight).data();
    const one = (body: () => void): unknown => {
      md.autocast(dtype, () => {
        product();
        body();
        const found = product();
        expect(found).toEqual(md.autocast(dtype, product, { cacheEnabled: false }));
      });
      return md.autocast(dtype, product);
    };
    const before = md.autocast(dtype, product);
    const changed = one(() => md.assign(weight, weight.detach().mul(2)));
    expect(changed).not.toEqual(before);
    const zeros = (): md.Tensor[] => [md.zeros([6, 6])];
    const state = { parameters: [weight], grads: [md.ones([6, 6])], expAvgs: zeros(), expAvgSqs: zeros() };
    const options = { lr: 1, betas: [0.9, 0.99], eps: 1e-8, weightDecay: 0, step: 1 } as const;
    expect(one(() => md.adamwStep(state, options))).not.toEqual(changed);
  });

  it("are gone with the outermost autocast, after an error too, so that steps take no more memory", () => {
    md.scope(() => {
      const weight = parameter([64, 6], 2);
      const step = (): void =>
        md.scope(() => {
          const loss = md.autocast(dtype, () => md.sum(md.autocast(dtype, () => md.linear(x, weight))));
          loss.backward();
          weight.grad!.dispose();
          weight.grad = null;
        });
      step();
      const { liveTensors, liveBytes } = md.memory();
      const same = (): void => expect(md.memory()).toMatchObject({ liveTensors, liveBytes });
      for (let i = 0; i < 5; i++) step();
      same();
      md.autocast(dtype, () => {
        md.scope(() => void md.linear(x, weight));
        expect(md.memory().liveTensors).toBe(liveTensors + 1);
        md.autocast("f16", () => md.scope(() => void md.linear(x, weight)));
        md.autocast("bf16", () => md.scope(() => void md.linear(x, weight)));
        expect(md.memory().liveTensors).toBe(liveTensors + 2);
      });
      same();
      const failing = (): void => {
        md.scope(() => void md.linear(x, weight));
        throw new Error("inside");
      };
      expect(() => md.autocast(dtype, failing)).toThrow("inside");
      same();
    });
  });
});
