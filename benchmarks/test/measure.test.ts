import { add, tensor } from "@md/tensor";
import { describe, expect, it } from "vitest";
import { alternate, type Contestant } from "../measure/alternate.js";
import { type CaseResult, measureCase } from "../measure/case.js";
import { requireSame, sameBits, WrongResult } from "../measure/compare.js";
import { startCopies } from "../measure/machine.js";
import { COPY } from "../measure/names.js";
import { peakResidentBytes } from "../measure/resident.js";
import { fitLine, geometricMean, growth, misfit } from "../measure/fits.js";
import { interval, median, ratioInterval } from "../measure/statistics.js";
import { type BenchCase, random, stateless, withGradients } from "../suite.js";

const quick = { sampleMs: 0, leastRounds: 4, mostRounds: 4, budgetMs: 0 };

describe("statistics", () => {
  it("a median and its interval", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    const { median: middle, low, high } = interval(Array.from({ length: 99 }, (_, i) => i));
    expect(middle).toBe(49);
    expect([low < 45, low > 25, high > 53, high < 73]).toEqual([true, true, true, true]);
  });

  it("ratios are taken round by round, so that a drift of the machine cancels", () => {
    const drift = Array.from({ length: 30 }, (_, i) => 1 + i);
    const ratio = ratioInterval(
      drift.map((slow) => 3 * slow),
      drift,
    );
    expect(ratio).toEqual({ median: 3, low: 3, high: 3 });
  });

  it("means, lines and powers", () => {
    expect(geometricMean([1, 4])).toBeCloseTo(2);
    expect(geometricMean([1, NaN])).toBeNaN();
    const { intercept, slope } = fitLine([
      [0, 1],
      [1, 3],
      [2, 5],
    ]);
    expect([intercept, slope]).toEqual([1, 2]);
    const square = [10, 100, 1000].map((x) => [x, 5 * x * x] as const);
    expect(growth(square)).toBeCloseTo(2);
    expect(misfit(square.map(([x]) => [x, 7 + 3 * x] as const))).toBeCloseTo(0);
    expect(misfit(square)).toBeGreaterThan(0.1);
  });
});

describe("resident memory", () => {
  const node = (program: string): Promise<number> =>
    peakResidentBytes({ command: process.execPath, args: ["-e", program] });

  it.skipIf(process.platform !== "linux")("is that at the peak, though it was given back", async () => {
    const wait = "setTimeout(() => undefined, 200)";
    const [bare, holding] = [await node(wait), await node(`let held = Buffer.alloc(3e8, 1); held = null; ${wait}`)];
    expect(bare).toBeLessThan(1.5e8);
    expect(Math.abs(holding - bare - 3e8)).toBeLessThan(3e7);
  });

  it("fails with what the program said last", async () => {
    await expect(node(`console.error("out of luck"); process.exit(3)`)).rejects.toThrow(
      "left with status 3: out of luck",
    );
    await expect(node(`throw new RangeError("too many")`)).rejects.toThrow("status 1: RangeError: too many");
    await expect(peakResidentBytes({ command: "/nonexistent", args: [] })).rejects.toThrow(/ENOENT/);
  });
});

describe("alternation", () => {
  it("runs everyone once a round, in changing order, and divides by the iterations", async () => {
    const log: string[] = [];
    const contestant = (name: string, ms: number): Contestant => ({
      name,
      threads: 1,
      time(iterations) {
        log.push(name);
        return ms * iterations;
      },
    });
    const samples = await alternate([contestant("a", 2), contestant("b", 6)], { ...quick, sampleMs: 10 });
    expect(samples).toEqual([
      [2, 2, 2, 2],
      [6, 6, 6, 6],
    ]);
    expect(log.slice(-8).join("")).toBe("abbabaab");

    // A single run has one before it, a long one has not.
    log.length = 0;
    await alternate([contestant("a", 20), contestant("b", 200)], { ...quick, sampleMs: 10 });
    expect(log.slice(-12).join("")).toBe("aabbaabaaaab");
  });
});

describe("between two samples", () => {
  it("waits until nobody works for another contestant any more", async () => {
    let spinning = 0;
    const waited: number[] = [];
    const contestant = (name: string): Contestant => ({
      name,
      threads: 1,
      time(iterations) {
        waited.push(spinning);
        spinning = 3;
        return 4 * iterations;
      },
      resting: () => spinning-- <= 0,
    });
    await alternate([contestant("a"), contestant("b")], { ...quick, sampleMs: 10 });
    expect(waited.slice(-8).every((left) => left <= 0)).toBe(true);
  });
});

describe("comparison", () => {
  const f32 = (...values: number[]) => [{ shape: [values.length], data: Float32Array.from(values) }];
  it("fails on NaN on either side, on a distance, on another shape", () => {
    expect(() => requireSame("x", f32(1, 2), f32(1, 2.00001), 1e-4)).not.toThrow();
    expect(() => requireSame("x", f32(1, 2), f32(1, 2.1), 1e-4)).toThrow(WrongResult);
    expect(() => requireSame("x", f32(1, NaN), f32(1, 2), 1e9)).toThrow(WrongResult);
    expect(() => requireSame("x", f32(1, 2), f32(1, NaN), 1e9)).toThrow(WrongResult);
    expect(() => requireSame("x", f32(1), f32(1, 2), 1)).toThrow(WrongResult);
    expect(() => requireSame("x", f32(1), [], 1)).toThrow(WrongResult);
  });
  it("takes integers and tolerance 0 exactly", () => {
    const i64 = [{ shape: [2], data: BigInt64Array.of(1n, 5n) }];
    expect(() => requireSame("x", [{ shape: [2], data: Int32Array.of(1, 5) }], i64, 1)).not.toThrow();
    expect(() => requireSame("x", [{ shape: [2], data: Int32Array.of(1, 6) }], i64, 1)).toThrow(WrongResult);
    expect(() => requireSame("x", f32(1 + 1e-7), f32(1), 0)).toThrow(WrongResult);
  });
  it("tells bits apart", () => {
    expect(sameBits(f32(0, 1), f32(0, 1))).toBe(true);
    expect(sameBits(f32(0, 1), f32(-0, 1))).toBe(false);
  });
});

describe("a case", () => {
  const around = { threads: [1, 2], peers: [], ceilings: new Map([[1, { gflops: 1, gbs: 1 }]]), pace: quick };
  const sum: BenchCase = {
    name: "sum",
    inputs: () => [random([64], 1), random([64], 2)],
    bind: stateless(add),
    bytes: 768,
  };

  it("is measured with every number of threads, beside its baseline", async () => {
    const baseline = { name: "twice", bind: stateless((a, b) => (add(b, a).dispose(), add(a, b))), sameResult: true };
    const result = await measureCase("test", { ...sum, baseline, countsFor: ["memory-bound"] }, around);
    expect(result).toMatchObject({
      failure: null,
      reproducible: true,
      memory: { io: 768 },
      countsFor: ["memory-bound"],
    });
    expect(result.timings.map(({ name, threads }) => `${name} ${threads}`)).toEqual([
      "ours 1",
      "twice 1",
      "ours 2",
      "twice 2",
    ]);
    expect(result.speedups.map(({ over, threads }) => `${over} ${threads}`)).toEqual(["twice 1", "twice 2"]);
    expect(result.scalings.map(({ name }) => name)).toEqual(["ours", "twice"]);
    expect(result.timings[0].share).toBeCloseTo(768e-6 / result.timings[0].ms.median);
    expect(result.timings[2].share).toBeNull();
  });

  it("is measured in turn with a copy of as many bytes where memory bounds it", async () => {
    const copies = await startCopies([1, 2]);
    try {
      const counts: BenchCase = { ...sum, countsFor: ["memory-bound"] };
      const small = await measureCase("test", counts, { ...around, copies });
      const large = await measureCase("test", { ...counts, bytes: 1000 * 768 }, { ...around, copies });
      const msOf = ({ timings }: CaseResult): number[] =>
        timings.filter(({ name }) => name === COPY).map(({ ms }) => ms.median);
      expect(small.failure).toBeNull();
      expect(small.speedups.map(({ over, threads }) => `${over} ${threads}`)).toEqual(["copy 1", "copy 2"]);
      // Disturbed, but not by another power of ten.
      msOf(large).forEach((ms, i) => expect(Math.abs(Math.log10(ms / msOf(small)[i]) - 3)).toBeLessThan(0.5));
      expect((await measureCase("test", sum, { ...around, copies })).speedups).toEqual([]);
    } finally {
      await Promise.all(copies.map((copy) => copy.close()));
    }
  });

  it("is timed in further rounds, beside the one whose scaling ours is held against alone", async () => {
    let runs = 0;
    const counted: BenchCase = { ...sum, bind: stateless((a, b) => (runs++, add(a, b))) };
    const timesOf = async (rest: Partial<BenchCase>): Promise<[number, string[]]> => {
      runs = 0;
      const { scalings } = await measureCase("test", { ...counted, ...rest }, around);
      return [runs, scalings.map(({ name }) => name)];
    };
    const baseline = { name: "twice", bind: stateless(add), sameResult: true };
    const [fewer, all] = await timesOf({ baseline });
    const [more, rivals] = await timesOf({ baseline, scalesBeside: "onednn" });
    expect([all, rivals]).toEqual([["ours", "twice"], ["ours"]]);
    expect(more).toBeGreaterThan(fewer);
  });

  it.each<[string, Partial<BenchCase>, RegExp]>([
    [
      "differs from f64",
      { bind: stateless((a) => add(a, tensor([a.dtype === "f32" ? 1 : 0], { dtype: a.dtype }))) },
      /beside f64/,
    ],
    ["is not finite", { bind: stateless((a) => a.log()) }, /not finite/],
    [
      "differs from its baseline",
      { baseline: { name: "other", bind: stateless((a) => a), sameResult: true } },
      /beside other/,
    ],
  ])("that %s is not timed", async (_, change, problem) => {
    const result = await measureCase("test", { ...sum, ...change }, around);
    expect(result.failure).toMatch(problem);
    expect(result.timings).toEqual([]);
  });

  it("sees that results change from run to run", async () => {
    let calls = 0;
    const bind = stateless((a, b) => add(a, b).mul(1 + 1e-6 * (calls++ % 2)));
    expect((await measureCase("test", { ...sum, bind }, around)).reproducible).toBe(false);
  });

  it("may be a forward and a backward pass", async () => {
    const bind = withGradients((a, b) => a.mul(b), 2);
    const inputs = (): ReturnType<typeof random>[] => [1, 2, 3].map((seed) => random([8], seed));
    const result = await measureCase("test", { name: "product", inputs, bind }, around);
    expect(result).toMatchObject({ failure: null, memory: { io: 4 * 8 * 6 } });
  });
});
