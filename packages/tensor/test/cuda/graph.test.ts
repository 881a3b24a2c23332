import { describe, expect, it } from "vitest";
import * as md from "../../src/index.js";
import type { DeviceName, Tensor } from "../../src/index.js";

const { devices } = md.cudaInfo();
const device: DeviceName = "cuda";

function uniform(shape: number[], seed: number): Tensor {
  const random = md.mulberry32(seed);
  const values = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 2 * random() - 1);
  return md.tensor(values, { shape, device });
}
const attend = (x: Tensor): Tensor =>
  md.maskedAttention(x, x, x, { mask: md.masks.causal(), dropout: { p: 0.5, generator: new md.Generator(1) } });
const bits = (tensors: readonly Tensor[]): unknown[][] => tensors.map((x) => [...x.data()]);

describe.skipIf(devices.length === 0)("a graph on cuda", () => {
  it("replays forward and backward passes of a fixed shape, to the bits of the same work without it", () => {
    md.scope(() => {
      const weight = uniform([8, 8], 1);
      const table = uniform([5, 8], 2);
      const step = (x: Tensor, rows: Tensor): Tensor[] => {
        const leaf = md.detach(weight);
        leaf.requiresGrad = true;
        const hidden = md.linear(x, leaf).add(md.tensor([1, 2, 3, 4, 5, 6, 7, 8], { device }));
        const heads = hidden.reshape([1, 2, 6, 4]);
        const mask = md.masks.level2({ samples: 2, tokensPerSample: 1, conditionTokens: 4 });
        const out = md.maskedAttention(heads.narrow(2, 0, 2), heads, heads, { mask });
        const loss = md.sum(out.mul(md.indexSelect(table, 0, rows).reshape([1, 2, 2, 4])));
        loss.backward();
        return [out, loss, leaf.grad!.mul(1), md.sort(hidden, { dim: 0 }).values];
      };
      const input = (i: number): [Tensor, Tensor] => [
        uniform([6, 8], 10 + i),
        md.tensor([i, 4 - i], { dtype: "i64", device }),
      ];
      const [x, rows] = input(0);
      md.scope(() => step(x, rows));
      const graph = md.CudaGraph.capture(device, () => step(x, rows));
      for (const i of [0, 1, 2]) {
        const [nextX, nextRows] = input(i);
        md.assign(x, nextX);
        md.assign(rows, nextRows);
        graph.replay();
        expect(bits(graph.result)).toEqual(md.scope(() => bits(step(nextX, nextRows))));
      }
    });
  });

  it("keeps numbers of the host as they were, and reads those of the device", () => {
    md.scope(() => {
      const x = md.ones([2], { device });
      const factor = md.full([], 3, { device });
      let host = 3;
      const work = (): Tensor[] => [x.mul(factor), x.mul(host), x.mul(md.tensor(host, { device }))];
      const graph = md.CudaGraph.capture(device, work);
      host = 5;
      md.assign(factor, md.full([], host, { device }));
      // Staging buffers of uploads are used anew meanwhile.
      for (let i = 0; i < 4; i++) md.tensor([i, -i], { device });
      graph.replay();
      expect(bits(graph.result)).toEqual([
        [5, 5],
        [3, 3],
        [3, 3],
      ]);
      expect(bits(work())).toEqual(Array(3).fill([5, 5]));
    });
  });

  it("refuses what waits for the device, by the op's name; the device lives", () => {
    md.scope(() => {
      const points = uniform([9, 3], 3);
      const item = md.zeros([9], { dtype: "i32", device });
      const hash = md.VoxelHash.build(points, item, { voxelSize: 0.5 });
      const refused: [string, () => unknown][] = [
        ["toBytes", () => points.data()],
        ["toBytes", () => md.globalNorm([points]).item()],
        ["voxelHash", () => md.VoxelHash.build(points, item, { voxelSize: 0.5 })],
        ["mapPairs", () => hash.neighbourMap()],
        ["synchronize", () => md.synchronize(device)],
        ["toDevice", () => points.to("cpu")],
        ["beginGraph", () => md.CudaGraph.capture(device, () => points.add(1))],
        // What replays would repeat.
        ["randn", () => md.randn([3], { generator: new md.Generator(1), device })],
        ["randint", () => md.randint(0, 5, [3], { generator: new md.Generator(1) })],
        ["dropout", () => md.dropout(points, 0.5, new md.Generator(1))],
        ["maskedAttention", () => attend(points.reshape([1, 1, 9, 3]))],
        [
          "adamwStep",
          () =>
            md.adamwStep(
              { parameters: [points], grads: [points], expAvgs: [points], expAvgSqs: [points] },
              { lr: 1, betas: [0.9, 0.98], eps: 1e-8, weightDecay: 0, step: 1 },
            ),
        ],
      ];
      for (const [op, wait] of refused) {
        const capture = (): unknown =>
          md.CudaGraph.capture(device, () => {
            points.mul(2);
            wait();
          });
        expect(capture, op).toThrow(md.UnsupportedError);
        expect(capture, op).toThrow(`[${op}]`);
      }
      const bad = (): unknown => md.CudaGraph.capture(device, () => points.add(md.ones([4], { device })));
      expect(bad).toThrow(md.ShapeError);
      const graph = md.CudaGraph.capture(device, () => points.add(1));
      expect(() => md.CudaGraph.capture(device, () => graph.replay())).toThrow(md.UnsupportedError);
      expect(() => md.CudaGraph.capture("cpu", () => points)).toThrow(md.DeviceError);
      graph.replay();
      expect(bits([graph.result])).toEqual(bits([points.add(1)]));
    });
  });

  it("draws on where its generators stand, forward and backward, on the numbers of the same work without it", () => {
    md.scope(() => {
      const x = uniform([6, 8], 1);
      const step = (generator: md.Generator, other: md.Generator): Tensor[] => {
        const leaf = md.detach(x);
        leaf.requiresGrad = true;
        const dropped = md.dropout(leaf, 0.4, generator).add(md.randn([6, 8], { generator, device }));
        md.sum(dropped.mul(md.rand([8], { generator: other, device }))).backward();
        return [dropped, leaf.grad!.mul(1), md.bernoulli([9], 0.5, { generator, device })];
      };
      const [own, other] = [new md.Generator(1), new md.Generator(2)];
      own.state = { seed: 1, offset: 40 };
      const graph = md.CudaGraph.capture(device, () => step(own, other), { generators: [own, other] });
      expect([own.state.offset, other.state.offset]).toEqual([40, 0]);
      const [ownAlone, otherAlone] = [new md.Generator(1), new md.Generator(2)];
      ownAlone.state = own.state;
      const drawn = new Set<string>();
      for (let i = 0; i < 3; i++) {
        graph.replay();
        const found = bits(graph.result);
        expect(found).toEqual(md.scope(() => bits(step(ownAlone, otherAlone))));
        drawn.add(JSON.stringify(found));
        // Draws between replays count too, and a state may be put back.
        for (const generator of [own, ownAlone]) generator.take(5, 1);
        if (i === 1) for (const generator of [own, ownAlone]) generator.state = { seed: 1, offset: 7 };
        expect([own.state, other.state]).toEqual([ownAlone.state, otherAlone.state]);
      }
      expect(drawn.size).toBe(3);
      other.state = { seed: 3, offset: 0 };
      expect(() => graph.replay()).toThrow(md.ValueError);
      expect(() => md.CudaGraph.capture(device, () => x, { generators: [own, ownAlone] })).toThrow(md.ValueError);
    });
  });

  it("reports and limits the device's memory while it is captured", () => {
    md.scope(() => {
      md.emptyCache(device);
      const { limitBytes, liveBytes } = md.memory(device);
      md.resetPeakMemory(device);
      const graph = md.CudaGraph.capture(device, () => {
        const made = [md.zeros([1 << 12], { device }), md.zeros([1 << 12], { device })];
        const inside = md.memory(device);
        expect(inside.limitBytes).toBe(limitBytes);
        expect(inside.liveBytes).toBeGreaterThanOrEqual(liveBytes + (2 << 14));
        expect(inside.peakBytes).toBe(inside.liveBytes);
        md.emptyCache(device);
        expect(md.memory(device).cachedBytes).toBe(0);
        md.setMemoryLimit(inside.liveBytes + 1000, device);
        expect(() => md.zeros([1 << 12], { device })).toThrow(md.OutOfMemoryError);
        return made;
      });
      expect(md.memory(device).limitBytes).toBeLessThan(limitBytes);
      expect(() => md.zeros([1 << 12], { device })).toThrow(md.OutOfMemoryError);
      md.setMemoryLimit(limitBytes, device);
      graph.replay();
      expect(
        bits(graph.result)
          .flat()
          .every((value) => value === 0),
      ).toBe(true);
    });
  });

  it("may be disposed while another is captured", () => {
    md.scope(() => {
      const x = uniform([5], 1);
      const first = md.CudaGraph.capture(device, () => x.add(1));
      first.replay();
      const second = md.CudaGraph.capture(device, () => {
        const out = x.mul(3);
        first.dispose();
        return out;
      });
      second.replay();
      expect(bits([second.result])).toEqual(bits([x.mul(3)]));
      const third = md.CudaGraph.capture(device, () => x.sub(1));
      const failed = (): unknown =>
        md.CudaGraph.capture(device, () => {
          third.dispose();
          x.data();
        });
      expect(failed).toThrow("[toBytes]");
      expect(() => third.replay()).toThrow(md.DisposedError);
    });
  });

  it("leaves the device as it was where memory runs out within it", () => {
    const before = md.memory(device);
    md.scope(() => {
      const x = uniform([1 << 12], 1);
      md.setMemoryLimit(md.memory(device).liveBytes + (3 << 14), device);
      const capture = (): unknown => md.CudaGraph.capture(device, () => Array.from({ length: 9 }, (_, i) => x.mul(i)));
      expect(capture).toThrow(md.OutOfMemoryError);
      expect(capture).toThrow("[mulScalar]");
      md.setMemoryLimit(before.limitBytes, device);
      expect(bits([x.mul(2).div(2)])).toEqual(bits([x]));
    });
    expect(md.memory(device).liveBytes).toBe(before.liveBytes);
  });

  it("captures a local query, whose pairs are counted on the device", () => {
    md.scope(() => {
      const hash = md.VoxelHash.build(uniform([40, 3], 4), md.zeros([40], { dtype: "i32", device }), {
        voxelSize: 0.4,
      });
      const means = uniform([hash.size, 5], 5);
      const weight = uniform([27, 6, 5], 6);
      const query = (at: Tensor): Tensor =>
        md.localKernelQuery(hash.localKernelMap(at, md.zeros([7], { dtype: "i32", device })), means, weight);
      const at = uniform([7, 3], 7);
      const graph = md.CudaGraph.capture(device, () => query(at));
      for (const seed of [8, 9]) {
        md.assign(at, uniform([7, 3], seed));
        graph.replay();
        expect(bits([graph.result])).toEqual(bits([query(uniform([7, 3], seed))]));
      }
    });
  });

  it("holds its memory until it is disposed, and its operands", () => {
    const before = md.memory(device).liveBytes;
    md.scope(() => {
      const x = uniform([1 << 12], 1);
      const weight = md.full([1 << 12], 2, { device });
      const held = md.memory(device).liveBytes;
      const graph = md.CudaGraph.capture(device, () => x.mul(weight).add(1).mul(weight));
      // Two results that were freed within the body, and the one that was not.
      expect(md.memory(device).liveBytes - held).toBeGreaterThanOrEqual(2 * (1 << 14));
      weight.dispose();
      const others = Array.from({ length: 8 }, () => md.zeros([1 << 12], { device }));
      graph.replay();
      expect(graph.result.toFlatArray()).toEqual(x.toFlatArray().map((v) => 2 * Math.fround(2 * v + 1)));
      expect(others.every((zeros) => zeros.toFlatArray().every((v) => v === 0))).toBe(true);
      const { result } = graph;
      graph.dispose();
      graph.dispose();
      expect(result.disposed).toBe(true);
      expect(() => graph.replay()).toThrow(md.DisposedError);
      others.forEach((other) => other.dispose());
      expect(md.memory(device).liveBytes).toBe(held - (1 << 14));
    });
    expect(md.memory(device).liveBytes).toBe(before);
  });

  it("says what a replay found wrong with an element when the host next waits", () => {
    md.scope(() => {
      const index = md.tensor([0, 1], { dtype: "i64", device });
      const graph = md.CudaGraph.capture(device, () => md.indexSelect(md.ones([3, 2], { device }), 0, index));
      md.assign(index, md.tensor([0, 9], { dtype: "i64", device }));
      graph.replay();
      expect(() => md.synchronize(device)).toThrow("[indexSelect] index element 1 is 9, expected 0 to 2");
      md.assign(index, md.tensor([2, 0], { dtype: "i64", device }));
      graph.replay();
      expect(graph.result.toFlatArray()).toEqual([1, 1, 1, 1]);
    });
  });
});
