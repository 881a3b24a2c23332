import { describe, expect, it } from "vitest";
import * as md from "../src/index.js";

const leaf = (shape: number[], seed: number): md.Tensor => {
  const x = md.randn(shape, { generator: new md.Generator(seed), dtype: "f64" });
  x.requiresGrad = true;
  return x;
};

describe("checkpoint", () => {
  it("gives the same output and gradients, of inputs and of what the body reads", () => {
    md.scope(() => {
      const run = (wrap: boolean): number[][] => {
        const [x, y, weight] = [leaf([4, 3], 1), leaf([4, 3], 2), leaf([3, 3], 3)];
        const body = (a: md.Tensor, b: md.Tensor): md.Tensor => md.gelu(a.matmul(weight)).mul(b).add(a);
        const inner = wrap ? md.checkpoint(body, [x.mul(2), y] as const) : body(x.mul(2), y);
        const out = inner.mul(inner);
        md.backward(md.sum(out));
        return [out, x.grad!, y.grad!, weight.grad!].map((tensor) => tensor.toFlatArray());
      };
      expect(run(true)).toEqual(run(false));
    });
  });

  it("draws the same numbers again, and leaves the generator where it was", () => {
    md.scope(() => {
      const run = (wrap: boolean): { grad: number[]; state: md.GeneratorState } => {
        const generator = new md.Generator(7);
        const x = leaf([100], 1);
        const body = (a: md.Tensor): md.Tensor => md.dropout(a.mul(a), 0.5, generator);
        const out = wrap ? md.checkpoint(body, [x] as const, { generators: [generator] }) : body(x);
        const more = md.dropout(out, 0.5, generator);
        md.backward(md.sum(more));
        return { grad: x.grad!.toFlatArray(), state: generator.state };
      };
      const [plain, again] = [run(false), run(true)];
      expect(again).toEqual(plain);
      expect(plain.grad.some((value) => value === 0) && plain.grad.some((value) => value !== 0)).toBe(true);
    });
  });

  it("nests, keeps less, and frees what it made", () => {
    md.scope(() => {
      const x = leaf([1000], 1);
      const deep = (a: md.Tensor): md.Tensor => {
        let value = a;
        for (let i = 0; i < 10; i++) value = md.sin(value);
        return value;
      };
      const live = (make: () => md.Tensor): number => {
        const before = md.memory().liveBytes;
        return md.scope(() => {
          const out = md.scope(make);
          const kept = md.memory().liveBytes - before;
          md.backward(md.sum(out));
          x.grad!.dispose();
          x.grad = null;
          return kept;
        });
      };
      const [plain, wrapped] = [live(() => deep(x)), live(() => md.checkpoint(deep, [x] as const))];
      expect(wrapped).toBeLessThan(plain / 4);
      const nested = (a: md.Tensor): md.Tensor => md.checkpoint(deep, [md.checkpoint(deep, [a] as const)] as const);
      const gradient = (make: () => md.Tensor): number[] => {
        md.backward(md.sum(make()));
        const values = x.grad!.toFlatArray();
        x.grad!.dispose();
        x.grad = null;
        return values;
      };
      expect(gradient(() => md.checkpoint(nested, [x] as const))).toEqual(gradient(() => deep(deep(x))));
      const tensors = md.memory().liveTensors;
      for (let i = 0; i < 5; i++) md.scope(() => gradient(() => md.checkpoint(nested, [x] as const)));
      expect(md.memory().liveTensors).toBe(tensors);
    });
  });

  it("computes nothing twice without gradients, and refuses a body that returns its input", () => {
    md.scope(() => {
      let runs = 0;
      const x = leaf([2], 1);
      md.noGrad(() => md.checkpoint((a) => (runs++, a.mul(2)), [x] as const));
      expect(runs).toBe(1);
      expect(() => md.checkpoint((a) => a, [x] as const)).toThrow(/\[checkpoint\] the body returned one of its inputs/);
    });
  });
});
