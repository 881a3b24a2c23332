import { afterEach, beforeEach, describe, expect, it } from "vitest";
import * as md from "../src/index.js";

// Ops return while the CPU still computes them: what they use must outlast them, and what follows must see their results.
describe("the queue of CPU ops", () => {
  const before = md.getNumThreads();
  beforeEach(() => md.setNumThreads(2));
  afterEach(() => md.setNumThreads(before));
  const n = 1 << 18;
  const expectAll = (x: md.Tensor, value: number): void => {
    expect(md.amin(x).item()).toBe(value);
    expect(md.amax(x).item()).toBe(value);
  };

  it("computes from operands that were disposed meanwhile, whose memory serves later ops", () => {
    md.scope(() => {
      for (let round = 0; round < 20; round++) {
        let x = md.full([n], round);
        for (let i = 0; i < 40; i++) {
          const next = x.add(1);
          x.dispose();
          x = next;
        }
        expectAll(x, round + 40);
        x.dispose();
      }
    });
  });

  it("does not let host data overwrite what a queued op still reads", () => {
    md.scope(() => {
      const zeros = new Float32Array(n);
      for (let round = 0; round < 20; round++) {
        const x = md.full([n], 3);
        const y = x.mul(2).add(1);
        x.dispose();
        const written = md.tensor(zeros);
        expectAll(y, 7);
        expectAll(written, 0);
        y.dispose();
        written.dispose();
      }
    });
  });

  it("reads elements after all ops before, whichever way they are read", () => {
    md.scope(() => {
      const weight = md.full([64, 64], 1 / 64);
      const chain = (): md.Tensor => {
        let x = md.full([4096, 64], 1);
        for (let i = 0; i < 12; i++) x = md.linear(x, weight).add(1);
        return x;
      };
      expect(chain().data()[4096 * 64 - 1]).toBe(13);
      const target = md.zeros([4096, 64]);
      md.assign(target, chain());
      expect(target.data()[1]).toBe(13);
      expect(md.permute(chain(), [1, 0]).data()[5]).toBe(13);
      expect(() => md.detectAnomaly(() => chain().mul(Infinity).mul(0))).toThrow(/mul/);
      expect(md.cast(chain(), "i32").data()[7]).toBe(13);
      expectAll(md.indexSelect(chain(), 0, md.tensor([4095, 0], { dtype: "i64" })), 13);
    });
  });

  // Indices are read while the op is called, and must be those that were queued before, however they were written.
  it("checks indices that are computed in the queue, also in place", () => {
    md.scope(() => {
      const table = md.tensor([10, 11, 12, 13, 14, 15, 16, 17]);
      const counted = (): md.Tensor => {
        let x = md.zeros([n], { dtype: "i64" });
        for (let i = 0; i < 7; i++) x = x.add(1);
        return x;
      };
      const first = md.slice(counted(), [[0, 2]]);
      expect(md.indexSelect(table, 0, first).toFlatArray()).toEqual([17, 17]);
      const index = md.zeros([n], { dtype: "i64" });
      md.assign(index, counted());
      expectAll(md.indexSelect(table, 0, index), 17);
      md.assign(index, counted().add(1));
      expect(() => md.indexSelect(table, 0, index)).toThrow(/element 0 = 8/);
      expect(() => md.gather(table, 0, md.cast(counted().add(1), "i32"))).toThrow(/element 0 = 8/);
      expect(() => md.crossEntropy(md.zeros([n, 8]), counted().add(1))).toThrow(/target 8 at item 0/);
    });
  });

  it("assigns part of a tensor to another part of it", () => {
    md.scope(() => {
      const x = md.cast(md.arange(0, n), "f32");
      md.assign(md.slice(x, [[0, n - 1]]), md.slice(x, [[1, n]]));
      const expected = Float32Array.from({ length: n }, (_, i) => Math.min(i + 1, n - 1));
      expect(x.data()).toEqual(expected);
    });
  });

  it("hands host data over before the caller may change them", () => {
    md.scope(() => {
      for (const size of [3, 1 << 16, n]) {
        const busy = md.full([n], 1);
        for (let i = 0; i < 12; i++) busy.add(i).dispose();
        const host = new Float32Array(size).fill(2);
        const x = md.tensor(host);
        host.fill(9);
        expectAll(x, 2);
      }
    });
  });

  it("gives the same bits as one op at a time", () => {
    md.scope(() => {
      const generator = new md.Generator(7);
      const x = md.randn([600, 48], { generator });
      const weights = [0, 1, 2].map(() => md.randn([48, 48], { generator }));
      const gradients = (wait: () => void): number[][] => {
        for (const leaf of [x, ...weights]) [leaf.requiresGrad, leaf.grad] = [true, null];
        let y: md.Tensor = x;
        for (const weight of weights) {
          y = md.gelu(md.linear(y, weight));
          wait();
          y = md.layerNorm(y.add(x));
          const heads = md.permute(md.reshape(y, [1, 600, 4, 12]), [0, 2, 1, 3]);
          wait();
          y = md.reshape(md.permute(md.maskedAttention(heads, heads, heads), [0, 2, 1, 3]), [600, 48]);
          wait();
          const halves = md.split(y, [24, 24], 1);
          y = md.cat([halves[1]!, halves[0]!], 1);
          y = md.where(md.gt(y, md.zeros([])), y, y.mul(0.5));
          wait();
        }
        md.mean(y.mul(y)).backward();
        return [x, ...weights].map(({ grad }) => grad!.toFlatArray());
      };
      expect(gradients(() => undefined)).toEqual(gradients(() => md.synchronize("cpu")));
    });
  });

  it("stays as it was when a call throws, and when threads change, with ops in the queue", () => {
    md.scope(() => {
      let x = md.full([n], 0);
      for (let i = 0; i < 30; i++) {
        x = x.add(1);
        if (i % 10 === 5) expect(() => md.add(x, md.ones([3]))).toThrow(md.ShapeError);
        if (i % 10 === 7) md.setNumThreads(1 + (i % 3));
      }
      expectAll(x, 30);
    });
  });

  it("counts no memory of disposed operands", () => {
    md.scope(() => {
      const { liveBytes } = md.memory();
      const x = md.full([n], 1);
      const y = x.add(1).add(1).add(1);
      md.scope(() => void y.add(1));
      y.dispose();
      x.dispose();
      md.synchronize("cpu");
      expect(md.memory().liveBytes - liveBytes).toBeLessThan(3 * 4 * n);
    });
    md.resetPeakMemory();
    const { liveBytes } = md.memory();
    for (let i = 0; i < 200; i++) md.scope(() => void md.full([n], 1).add(1).mul(2));
    expect(md.memory().peakBytes - liveBytes).toBeLessThanOrEqual(3 * 4 * n);
    expect(md.memory().liveBytes).toBe(liveBytes);
  });
});
