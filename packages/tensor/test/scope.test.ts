import { native } from "@md/native";
import { describe, expect, it, vi } from "vitest";
import * as md from "../src/index.js";

describe("scope", () => {
  it("frees all but what it returns, nested", () => {
    const before = md.memory().liveTensors;
    const kept = md.scope(() => {
      md.ones([4]);
      const inner = md.scope(() => ({ list: [md.ones([2]), md.zeros([3])], map: new Map([["a", md.ones([1])]]) }));
      md.ones([5]);
      return inner;
    });
    expect(md.memory().liveTensors).toBe(before + 3);
    expect(kept.map.get("a")!.item()).toBe(1);
    [...kept.list, ...kept.map.values()].forEach((x) => x.dispose());
    expect(md.memory().liveTensors).toBe(before);
  });

  it("frees on a throw", () => {
    const before = md.memory().liveTensors;
    expect(() =>
      md.scope(() => {
        md.ones([4]);
        throw new Error("stop");
      }),
    ).toThrow("stop");
    expect(md.memory().liveTensors).toBe(before);
  });

  it("names the use of a freed tensor", () => {
    let leaked: md.Tensor | undefined;
    md.scope(() => void (leaked = md.ones([2, 3])));
    expect(() => leaked!.add(1)).toThrow(md.DisposedError);
    expect(() => leaked!.data()).toThrow(/\[2,3\]/);
  });

  it("carries an async scope across await, beside another one", async () => {
    const before = md.memory().liveTensors;
    const run = (ms: number): Promise<number> =>
      md.scope.async(async () => {
        const x = md.ones([3]);
        await new Promise((resolve) => setTimeout(resolve, ms));
        const total = md.scope(() => md.sum(x.add(1)));
        await new Promise((resolve) => setTimeout(resolve, ms));
        return total.item();
      });
    expect(await Promise.all([run(5), run(2), run(9)])).toEqual([6, 6, 6]);
    expect(md.memory().liveTensors).toBe(before);
  });

  it("refuses an async body", () => {
    expect(() => md.scope(async () => undefined)).toThrow(md.UnsupportedError);
  });

  it("keeps a kept tensor and disposes with using's symbol", () => {
    const kept = md.scope(() => md.ones([2]).keep());
    expect(kept.toFlatArray()).toEqual([1, 1]);
    kept[Symbol.dispose]();
    expect(kept.disposed).toBe(true);
    kept.dispose();
  });

  it("tells the garbage collector of memory outside of scopes, but not of what comes and goes", () => {
    const tell = vi.spyOn(native, "adjustExternalMemory");
    const megabytes = (count: number): md.Tensor => md.scope(() => md.zeros([count, 1 << 18]).keep());
    const large = megabytes(256);
    expect(tell).toHaveBeenCalled();
    tell.mockClear();
    for (let step = 0; step < 10; step++) [1, 2, 3].map(megabytes).forEach((gradient) => gradient.dispose());
    expect(tell).not.toHaveBeenCalled();
    large.dispose();
    expect(tell).toHaveBeenCalled();
    tell.mockRestore();
  });

  it("has flat live bytes over 10,000 steps", () => {
    const x = md.ones([64, 64]).keep();
    const { liveBytes } = md.memory();
    for (let i = 0; i < 10_000; i++) md.scope(() => void md.mean(x.mul(2).add(x)));
    expect(md.memory().liveBytes).toBe(liveBytes);
    x.dispose();
  });

  it("refuses an allocation that does not fit, and lives on", () => {
    expect(() => md.zeros([1 << 30, 1 << 9])).toThrow(md.OutOfMemoryError);
    expect(() => md.zeros([1 << 30, 1 << 30])).toThrow(md.OutOfMemoryError);
    expect(md.ones([2]).toFlatArray()).toEqual([1, 1]);
  });

  it("refuses limits and threads that are no number of them", () => {
    const { limitBytes } = md.memory();
    for (const wrong of [NaN, -1, Infinity, 1e30]) expect(() => md.setMemoryLimit(wrong)).toThrow(md.ValueError);
    expect(md.memory().limitBytes).toBe(limitBytes);
    const threads = md.getNumThreads();
    for (const wrong of [NaN, 0, 1.5, 257]) expect(() => md.setNumThreads(wrong)).toThrow(md.ValueError);
    expect(md.getNumThreads()).toBe(threads);
  });
});
