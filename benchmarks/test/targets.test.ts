import { describe, expect, it } from "vitest";
import {
  atMost,
  extraMemory,
  geometricSpeedup,
  growsLike,
  isAffine,
  type Judge,
  memoryIsAffine,
  metricBelow,
  scalesAs,
  shareOfCopy,
  shareOfProducts,
  worstSpeedup,
} from "../judge.js";
import type { CaseResult } from "../measure/case.js";
import { FIRST } from "../measure/names.js";
import { parseOptions, usage, UsageError } from "../options.js";
import { barChart } from "../output/bars.js";
import { reportPage } from "../output/report.js";
import { caseLines, machineLines } from "../output/table.js";
import { lastLine, scoreTargets } from "../score.js";
import { stateless, type Suite } from "../suite.js";
import { suites } from "../suites/index.js";
import { suitesOn } from "../suites/on-device.js";
import { deviceTargets, targets } from "../targets.js";

const exact = (value: number) => ({ median: value, low: value, high: value });

/** A result with our time, and others' times as multiples of it, for each number of threads. */
function resultOf(name: string, others: Record<string, readonly number[]>, rest: Partial<CaseResult> = {}): CaseResult {
  const counts = [1, 2];
  return {
    suite: "gemm",
    name,
    countsFor: [],
    curve: null,
    flops: 1e6,
    bytes: null,
    failure: null,
    timings: counts.flatMap((threads) =>
      ["ours", ...Object.keys(others)].map((who) => ({
        name: who,
        threads,
        ms: exact(who === "ours" ? 1 : others[who][threads - 1]),
        share: 0.5,
        variant: "",
      })),
    ),
    speedups: Object.entries(others).flatMap(([over, ratios]) =>
      ratios.map((ratio, i) => ({ over, threads: i + 1, ratio: exact(ratio) })),
    ),
    scalings: [],
    memory: { io: 800, extra: 100 },
    reproducible: true,
    metrics: [],
    unable: [],
    ...rest,
  };
}

/** Memory along a curve of three points, the last one `more` than on the line. */
const line = (name: string, intercept: number, slope: number, more = 0): CaseResult[] =>
  [1, 2, 4].map((x) =>
    resultOf(
      `${name} ${x}`,
      {},
      {
        curve: { name, x },
        memory: { io: intercept, extra: slope * x + (x === 4 ? more : 0) },
      },
    ),
  );

/** Points of a curve, of which the first is so many times as slow as each. */
const grown = (...points: (readonly [x: number, ratio: number])[]): CaseResult[] =>
  points.map(([x, ratio], i) =>
    resultOf(`${x}`, i === 0 ? {} : { [FIRST]: [ratio, ratio] }, { curve: { name: "c", x } }),
  );

describe("judges", () => {
  const blas = geometricSpeedup(["openblas", "onednn"], 0.9);
  it.each<[string, Judge, CaseResult[], boolean | null]>([
    [
      "the better of two peers, geometric mean",
      blas,
      [resultOf("a", { openblas: [2, 2], onednn: [0.8, 1] }), resultOf("b", { openblas: [1.1, 1.1], onednn: [3, 3] })],
      true,
    ],
    ["too slow with the most threads", blas, [resultOf("a", { openblas: [2, 0.8], onednn: [2, 2] })], false],
    ["one thread is told, not judged", blas, [resultOf("a", { openblas: [0.8, 2], onednn: [2, 2] })], true],
    ["a peer is absent", blas, [resultOf("a", { openblas: [2, 2] })], null],
    ["NaN is not met", blas, [resultOf("a", { openblas: [2, NaN], onednn: [2, 2] })], false],
    [
      "the worst case counts",
      worstSpeedup(["torch"], 2),
      [resultOf("a", { torch: [3, 3] }), resultOf("b", { torch: [3, 1.9] })],
      false,
    ],
    ["cost beside a baseline", atMost("M = 1", 1.1), [resultOf("a", { "M = 1": [0.5, 0.95] })], true],
    ["extra memory", extraMemory(1 / 8), [resultOf("a", {})], true],
    ["too much extra memory", extraMemory(1 / 9), [resultOf("a", {})], false],
    ["share of a copy", shareOfCopy(0.7), [resultOf("a", { copy: [0.6, 0.8] })], true],
    [
      "share of a copy, the worst case",
      shareOfCopy(0.7),
      [resultOf("a", { copy: [0.9, 0.9] }), resultOf("b", { copy: [0.9, 0.6] })],
      false,
    ],
    ["NaN of a copy", shareOfCopy(0.7), [resultOf("a", { copy: [0.9, NaN] }), resultOf("b", { copy: [1, 1] })], false],
    ["no copy", shareOfCopy(0.7), [resultOf("a", { torch: [0.9, 0.9] })], null],
    [
      "share of a large product's rate, ours being the fastest",
      shareOfProducts("products", 0.5),
      [resultOf("step", { products: [0.5, 0.5], torch: [0.9, 0.9] }), resultOf("product", { torch: [0.9, 1.1] })],
      true,
    ],
    [
      "share of a peer's product",
      shareOfProducts("products", 0.5),
      [resultOf("step", { products: [0.5, 0.5], torch: [3, 3] }), resultOf("product", { torch: [2, 0.9] })],
      false,
    ],
    ["NaN of a product", shareOfProducts("products", 0.5), [resultOf("step", { products: [1, NaN] })], false],
    ["growth, each beside the first", growsLike(1, 0.1), grown([10, 1], [100, 0.1], [1000, 0.0105]), true],
    ["growth that is faster", growsLike(1, 0.1), grown([10, 1], [100, 0.05], [1000, 0.005]), false],
    ["a straight line", isAffine(0.1), grown([1, 1], [2, 1 / 1.5], [3, 1 / 2.1]), true],
    ["off a straight line", isAffine(0.1), grown([1, 1], [2, 1 / 2.5], [3, 1 / 2]), false],
    [
      "a curve whose points were measured alone",
      growsLike(1, 0.1),
      [10, 100].map((x) => resultOf(`${x}`, {}, { curve: { name: "c", x } })),
      false,
    ],
    [
      "a metric that was not measured",
      metricBelow("bytes", 2),
      [resultOf("a", {}, { metrics: [{ name: "ms", value: 1, unit: "ms" }] })],
      null,
    ],
    [
      "a metric of NaN",
      metricBelow("bytes", 2),
      [resultOf("a", {}, { metrics: [{ name: "bytes", value: NaN, unit: "B" }] })],
      false,
    ],
    ["memory on straight lines", memoryIsAffine(0.02), [...line("a", 0, 5), ...line("b", 7, 3)], true],
    ["memory off one of the lines", memoryIsAffine(0.02), [...line("a", 0, 5), ...line("b", 7, 3, 90)], false],
    [
      "scaling beside a peer",
      scalesAs("onednn", 0.05),
      [
        resultOf(
          "a",
          {},
          {
            scalings: [
              { name: "ours", ratio: exact(1.7) },
              { name: "onednn", ratio: exact(1.74) },
            ],
          },
        ),
      ],
      true,
    ],
    [
      "scaling without the peer",
      scalesAs("onednn", 0.05),
      [resultOf("a", {}, { scalings: [{ name: "ours", ratio: exact(1.7) }] })],
      null,
    ],
  ])("%s", (_, judge, results, met) => {
    expect(judge(results).met).toBe(met);
  });
});

describe("the last line", () => {
  const bench = (name: string) => ({ name, bind: stateless(() => []), countsFor: ["gemm"] as const });
  const suite: Suite = { name: "gemm", cases: [bench("a"), bench("b")] };
  const score = (...results: CaseResult[]) =>
    scoreTargets(
      [suite],
      results.map((result) => ({ ...result, countsFor: ["gemm"] })),
    );
  const fast = { openblas: [2, 2], onednn: [2, 2] };

  it("counts what was met, and names what was missed, not judged and not run", () => {
    const line = lastLine(score(resultOf("a", fast), resultOf("b", fast)));
    const count = Object.keys(targets).length;
    expect(line).toMatch(new RegExp(`^targets met: 2 of ${count}; not run: level2-train, .*overhead$`));
    expect(lastLine(score(resultOf("a", fast), resultOf("b", { openblas: [0.1, 0.1], onednn: [1, 1] })))).toContain(
      "; missed: gemm (0.447x with 1 thread, 0.447x with 2 threads); not run: ",
    );
    expect(lastLine(score(resultOf("a", fast), resultOf("b", {})))).toContain(
      "; not judged: gemm (needs openblas and onednn)",
    );
    expect(lastLine(score(resultOf("a", fast)))).toContain("not run: gemm, ");
  });

  it("a wrong result misses its targets", () => {
    const line = lastLine(score(resultOf("a", fast), resultOf("b", fast, { failure: "wrong", reproducible: true })));
    expect(line).toContain("missed: gemm (b: wrong), reproducible (b: wrong)");
  });

  it("every target of a device has a case there", () => {
    const counted = suitesOn({ dtype: "bf16" }).flatMap(({ cases }) =>
      cases.flatMap(({ countsFor = [] }) => countsFor),
    );
    expect([...new Set(counted)].sort()).toEqual(Object.keys(deviceTargets).sort());
  });

  it("every target has a case, and no two cases of a suite share a name", () => {
    const counted = new Set(suites.flatMap(({ cases }) => cases.flatMap(({ countsFor = [] }) => countsFor)));
    const named = Object.entries(targets).filter(([, { everyCase }]) => !everyCase);
    expect([...counted].sort()).toEqual(named.map(([id]) => id).sort());
    for (const { cases } of suites) expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  });
});

describe("options", () => {
  const parse = (...args: string[]) => parseOptions(args, ["gemm", "norm"]);
  it("are read", () => {
    const none = { suite: null, filter: /(?:)/, json: false, peers: false, help: false };
    expect(parse()).toEqual({ ...none, device: "cpu", dtype: "f32", compile: false });
    expect(parse("--suite", "norm", "--filter", "a|b", "--json", "--peers")).toEqual({
      suite: "norm",
      filter: /a|b/,
      json: true,
      peers: true,
      help: false,
      device: "cpu",
      dtype: "f32",
      compile: false,
    });
    expect(parse("--device", "cuda:1", "--dtype", "bf16", "--peers", "--compile")).toMatchObject({
      device: "cuda:1",
      dtype: "bf16",
      compile: true,
    });
    expect(usage(["gemm"])).toContain("--filter RE");
  });
  it.each([
    ["--fast"],
    ["gemm"],
    ["--suite", "gem"],
    ["--filter", "("],
    ["--suite"],
    ["--device", "gpu"],
    ["--dtype", "f16"],
    ["--dtype", "bf16"],
    ["--device", "cuda", "--compile"],
  ])("%s is refused", (...args) => {
    expect(() => parse(...args)).toThrow(UsageError);
  });
});

describe("output", () => {
  // Measured with one thread, beside cases with two.
  const curve = (x: number) => {
    const result = resultOf(`size ${x}`, {}, { curve: { name: "voxel hash", x } });
    return { ...result, timings: result.timings.filter(({ threads }) => threads === 1) };
  };
  it("a table names contestants and by how much we are faster", () => {
    const text = caseLines(resultOf("y = x Wᵀ", { torch: [2, 3] })).join("\n");
    expect(text).toMatch(
      /1 thread +ours +1\.000 ms +1\.00 GFLOP\/s +50%\n +torch +2\.000 ms .* 2\.00x \[2\.00, 2\.00\]/,
    );
    expect(caseLines(resultOf("a", {}, { failure: "wrong" })).join("\n")).toBe("gemm: a\n  FAILED wrong");
  });
  it("names a ceiling that other work has lowered", () => {
    const machine = { processor: "a processor", cores: 2, memoryBytes: 2 ** 34, isa: "avx2", node: "v20" };
    const linesAt = (gflops: number): string =>
      machineLines(
        machine,
        new Map([
          [1, { gflops: 110, gbs: 20 }],
          [2, { gflops, gbs: 30 }],
        ]),
        [],
        [],
      ).join("\n");
    expect(linesAt(120)).toMatch(/2 threads: 120 GFLOP\/s.*\n {2}only 1\.09x of one thread's/);
    expect(linesAt(200)).not.toContain("only");
  });
  it("a page holds bars, curves and numbers, and loads nothing", () => {
    const results = [resultOf("<b>", { torch: [2, 3] }), curve(1000), curve(10_000)];
    const page = reportPage(["a machine"], results, scoreTargets(suites, results));
    expect(page.match(/<svg/g)?.length).toBe(3);
    expect(page).toContain("voxel hash, ours ~ size^0.00");
    expect(page).not.toMatch(/<b>|<script|https?:|NaN|undefined/);
    expect(barChart("t", [{ label: "a & b", bars: [] }])).toContain("a &#38; b");
  });
});
