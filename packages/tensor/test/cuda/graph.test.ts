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
        ["globalNorm", () => md.globalNorm([points])],
        ["voxelHash", () => md.VoxelHash.build(points, item, { voxelSize: 0.5 })],
        ["mapPairs", () => hash.neighbourMap()],
        ["synchronize", () => md.synchronize(device)],
        ["toDevice", () => points.to("cpu")],
        ["beginGraph", () => md.CudaGraph.capture(device, () => points.add(1))],
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
