import { describe, expect, it } from "vitest";
import * as md from "../src/index.js";

describe("autograd", () => {
  it("accumulates into a leaf that is used twice", () => {
    md.scope(() => {
      const x = md.tensor([1, 2, 3], { requiresGrad: true });
      md.sum(x.mul(x).add(x)).backward();
      expect(x.grad!.toFlatArray()).toEqual([3, 5, 7]);
      md.sum(x).backward();
      expect(x.grad!.toFlatArray()).toEqual([4, 6, 8]);
    });
  });

  it("hands the same gradient to both operands without freeing it early", () => {
    md.scope(() => {
      const x = md.tensor([1, 2], { requiresGrad: true });
      const y = x.mul(2);
      md.sum(y.add(y).add(y.mul(y))).backward();
      expect(x.grad!.toFlatArray()).toEqual([12, 20]);
    });
  });

  it("lets an op add the gradients that its input has got from later ones", () => {
    md.scope(() => {
      const [x, w] = [md.tensor([[1, 2]], { requiresGrad: true }), md.tensor([[3, 4]])];
      const scaled = x.mul(2);
      const early = md.linear(scaled, w);
      const loss = md.add(md.sum(early), md.sum(scaled.square()));
      const { profile } = md.profile(() => loss.backward());
      expect(x.grad!.toFlatArray()).toEqual([2 * 3 + 8 * 1, 2 * 4 + 8 * 2]);
      expect(profile.rows.map(({ op }) => op)).not.toContain("add");
    });
  });

  it("refuses an explicit gradient of another shape or dtype", () => {
    md.scope(() => {
      const y = md.tensor([1, 2], { requiresGrad: true }).mul(3);
      expect(() => y.backward({ gradient: md.ones([3]) })).toThrow(
        new md.ShapeError("[backward] gradient has shape [3], expected [2]"),
      );
      expect(() => y.backward({ gradient: md.ones([2], { dtype: "f64" }) })).toThrow(
        new md.DTypeError("[backward] gradient has dtype f64, expected f32"),
      );
    });
  });

  it("takes an explicit gradient and leaves it alive", () => {
    md.scope(() => {
      const x = md.tensor([1, 2], { requiresGrad: true });
      const gradient = md.tensor([10, 100]);
      x.mul(3).backward({ gradient });
      expect(x.grad!.toFlatArray()).toEqual([30, 300]);
      expect(gradient.toFlatArray()).toEqual([10, 100]);
    });
  });

  it("keeps the graph of a tensor that leaves its scope", () => {
    md.scope(() => {
      const x = md.tensor([2], { requiresGrad: true });
      const y = md.scope(() => x.mul(x).exp());
      y.backward();
      expect(x.grad!.item()).toBeCloseTo(4 * Math.exp(4), 3);
    });
  });

  it("refuses a second pass over a freed graph, allows it with retainGraph", () => {
    md.scope(() => {
      const x = md.tensor([2], { requiresGrad: true });
      const y = x.mul(x);
      y.backward({ retainGraph: true });
      y.backward();
      expect(x.grad!.item()).toBe(8);
      expect(() => y.backward()).toThrow(/retainGraph/);
    });
  });

  it("records nothing under noGrad", () => {
    md.scope(() => {
      const x = md.tensor([2], { requiresGrad: true });
      expect(md.noGrad(() => x.mul(x)).requiresGrad).toBe(false);
      expect(() => md.noGrad(async () => undefined)).toThrow(md.UnsupportedError);
    });
  });

  it("runs an op of one's own", () => {
    const cube = md.defineOp({
      name: "cube",
      forward: ([x]) => x!.mul(x!).mul(x!),
      backward: (grad, [x]) => [grad.mul(x!.mul(x!).mul(3))],
    });
    md.scope(() => {
      const x = md.tensor([1, -2, 0.5], { dtype: "f64", requiresGrad: true });
      md.gradcheck((value) => cube([value]), [x]);
      const wrong = md.defineOp({ name: "wrong", forward: ([v]) => v!.mul(2), backward: (grad) => [grad] });
      expect(() => md.gradcheck((value) => wrong([value]), [x])).toThrow(/central difference/);
    });
  });

  it("gives an input none where an op of one's own leaves its gradient out", () => {
    const second = md.defineOp({
      name: "second",
      forward: ([a, b]) => a!.add(b!),
      backward: (grad) => {
        const grads = new Array<md.Tensor | null>(2);
        grads[1] = grad.mul(3);
        return grads;
      },
    });
    md.scope(() => {
      const [a, b] = [1, 2].map((value) => md.tensor([value], { requiresGrad: true })) as [md.Tensor, md.Tensor];
      md.backward(second([a, b]));
      expect(a.grad).toBeNull();
      expect(b.grad!.item()).toBe(3);
    });
  });

  it("names the op that made the first NaN", () => {
    md.scope(() => {
      const x = md.tensor([-1, 1]);
      expect(() => md.detectAnomaly(() => x.sqrt().mul(2))).toThrow(/\[sqrt\] made the first NaN/);
    });
  });

  it("leaves no tensor behind after a training step", () => {
    const w = md.tensor([0.5, -0.5], { requiresGrad: true }).keep();
    const step = (): void =>
      md.scope(() => {
        const loss = md.mean(w.mul(md.tensor([1, 2])).square());
        loss.backward();
        w.grad!.dispose();
        w.grad = null;
      });
    step();
    const { liveTensors, liveBytes } = md.memory();
    for (let i = 0; i < 100; i++) step();
    expect(md.memory()).toMatchObject({ liveTensors, liveBytes });
    w.dispose();
  });
});
