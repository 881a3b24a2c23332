import { afterAll, describe, expect, it } from "vitest";
import * as md from "../../src/index.js";

const { devices } = md.cudaInfo();
const generator = (): md.Generator => new md.Generator(5);

describe.skipIf(devices.length === 0)("tensors on cuda", () => {
  it("are made there, moved, and come back with the same bits", () => {
    md.scope(() => {
      const x = md.tensor([1, -2, 3.5, NaN, 0, 6], { shape: [2, 3], device: "cuda" });
      expect(x.device).toBe("cuda:0");
      expect(x.to("cuda")).toBe(x);
      expect([...x.data()]).toEqual([1, -2, 3.5, NaN, 0, 6]);
      expect([...x.transpose().data()]).toEqual([1, NaN, -2, 0, 3.5, 6]);
      expect(x.to("cpu").device).toBe("cpu");
      expect(md.zerosLike(x).device).toBe("cuda:0");
      for (const empty of [md.zeros([0, 4], { device: "cuda" }), md.tensor([], { device: "cuda" })]) {
        expect(empty.data()).toHaveLength(0);
      }
    });
  });

  it.each(["f32", "f64"] as const)("draw the numbers of the CPU in %s", (dtype) => {
    md.scope(() => {
      const draws = (device: md.DeviceName): md.Tensor[] => [
        md.randn([3, 173], { generator: generator(), dtype, device }),
        md.rand([517], { generator: generator(), dtype, low: -2, high: 3, device }),
        md.randint(-5, 1 << 40, [131], { generator: generator(), device }),
        md.bernoulli([259], 0.3, { generator: generator(), device }),
        md.dropout(md.ones([2, 77], { dtype, device }), 0.4, generator()),
      ];
      const there = draws("cuda");
      draws("cpu").forEach((here, i) => {
        expect(there[i]!.device).toBe("cuda:0");
        expect(there[i]!.data()).toEqual(here.data());
      });
    });
  });

  it("refuse operands of two devices", () => {
    md.scope(() => {
      const [here, there] = [md.ones([2]), md.ones([2], { device: "cuda" })];
      expect(() => here.add(there)).toThrow(md.DeviceError);
      expect(() => here.add(there)).toThrow("[add] operands are on cpu and cuda:0, expected one device");
    });
  });

  it("report an index out of range when the host next waits", () => {
    md.scope(() => {
      const x = md.ones([5, 2], { device: "cuda" });
      const index = md.tensor([0, 9], { dtype: "i64", device: "cuda" });
      const rows = md.indexSelect(x, 0, index);
      expect(() => rows.data()).toThrow(md.ValueError);
      expect([...md.ones([1], { device: "cuda" }).data()]).toEqual([1]);
      md.indexSelect(x, 0, index);
      expect(() => md.synchronize("cuda")).toThrow("[indexSelect] index element 1 is 9, expected 0 to 4");
      md.cast(md.tensor([1, Infinity], { device: "cuda" }), "i32");
      expect(() => md.synchronize("cuda")).toThrow("[cast] element 1 is not finite");
    });
  });

  it("count and limit their memory apart from the CPU's", () => {
    const before = md.memory("cuda").liveBytes;
    md.scope(() => {
      const host = md.memory().liveBytes;
      md.zeros([1 << 16], { device: "cuda" });
      expect(md.memory("cuda").liveBytes - before).toBeGreaterThanOrEqual(1 << 18);
      expect(md.memory().liveBytes).toBe(host);
      const { limitBytes } = md.memory("cuda");
      md.setMemoryLimit(1 << 20, "cuda");
      expect(() => md.zeros([1 << 20], { device: "cuda" })).toThrow(md.OutOfMemoryError);
      md.setMemoryLimit(limitBytes, "cuda");
    });
    expect(md.memory("cuda").liveBytes).toBe(before);
  });

  it("name a device that does not exist", () => {
    const last = devices.length - 1;
    expect(() => md.zeros([1], { device: `cuda:${devices.length}` })).toThrow(
      `[full] found cuda:${devices.length}, expected cuda:0 to cuda:${last}`,
    );
    expect(() => md.zeros([1], { device: "cuda:x" as md.DeviceName })).toThrow(md.ValueError);
  });
});

describe.skipIf(devices.length < 2)("two devices", () => {
  it("hold tensors apart", () => {
    md.scope(() => {
      const first = md.arange(0, 6, 1, { dtype: "f32", device: "cuda:0" });
      const second = first.to("cuda:1");
      expect([...second.mul(2).data()]).toEqual([0, 2, 4, 6, 8, 10]);
      expect(() => first.add(second)).toThrow("[add] operands are on cuda:0 and cuda:1, expected one device");
    });
  });
  afterAll(() => md.emptyCache("cuda:1"));
});

describe.skipIf(devices.length > 0)("without a CUDA device", () => {
  it("says why there is none", () => {
    expect(md.cudaInfo().reason).not.toBe("");
    expect(() => md.zeros([1], { device: "cuda" })).toThrow(md.DeviceError);
    expect(() => md.zeros([1], { device: "cuda" })).toThrow(`[full] no CUDA device: ${md.cudaInfo().reason}`);
    expect([...md.ones([2]).data()]).toEqual([1, 1]);
  });
});
