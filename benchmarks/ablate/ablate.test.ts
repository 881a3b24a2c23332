import { spawnSync, type SpawnSyncReturns } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeReachEpisode, type ReachScene } from "@md/rlbench-data";
import { parseOverride } from "@md/train";
import { afterAll, describe, expect, it } from "vitest";
import { ablate, type AblationOptions } from "./ablation.js";
import type { AblationRun } from "./results.js";
import { statements } from "./statement.js";
import { evaluationSteps } from "./train.js";
import { metresToNamed } from "./unseen-actions.js";

const out = mkdtempSync(join(tmpdir(), "md-ablate-"));
afterAll(() => rmSync(out, { recursive: true }));

const log: string[] = [];
const options: AblationOptions = {
  out,
  samples: [1, 2],
  seeds: 2,
  steps: 3,
  trainingScenes: 4,
  unseenScenes: 3,
  layers: ["policy.embedDim=24", "policy.numLayers=1", "data.points=16", "training.batchSize=2"].map(parseOverride),
  log: (text) => log.push(text),
};

describe("ablate", () => {
  it("trains every M with every seed, writes results and page, and keeps what is finished", async () => {
    const { runs } = await ablate(options);
    expect(runs.map(({ samples, seed }) => [samples, seed])).toEqual([
      [1, 0],
      [2, 0],
      [1, 1],
      [2, 1],
    ]);
    for (const { curve } of runs) {
      expect(curve.map(({ step }) => step)).toEqual([1, 2, 3]);
      const seconds = curve.map((point) => point.seconds);
      expect(seconds).toEqual([...seconds].sort((a, b) => a - b));
      for (const { within1cm, within3deg, withinBoth } of curve) {
        expect(withinBoth >= 0 && withinBoth <= Math.min(within1cm, within3deg)).toBe(true);
        expect(within1cm <= 1 && within3deg <= 1).toBe(true);
      }
    }
    const page = readFileSync(join(out, "report.html"), "utf8");
    expect(page.match(/<svg/g)).toHaveLength(6);
    expect(page).not.toMatch(/NaN|undefined|Infinity|https?:|<script/);

    const file = join(out, "results.json");
    const results = JSON.parse(readFileSync(file, "utf8"));
    results.runs.pop();
    writeFileSync(file, JSON.stringify(results));
    log.length = 0;
    const again = await ablate(options);
    expect(log[0]).toBe(`4 runs of 3 steps, 3 of them found in ${file}`);
    expect(again.runs.slice(0, 3)).toEqual(runs.slice(0, 3));
    const withoutSeconds = ({ curve }: AblationRun): unknown => curve.map((point) => ({ ...point, seconds: 0 }));
    expect(withoutSeconds(again.runs[3])).toEqual(withoutSeconds(runs[3]));

    const other = await ablate({ ...options, samples: [2], seeds: 1, steps: 1 });
    expect(other.runs.map(({ samples, seed }) => [samples, seed])).toEqual([[2, 0]]);
    writeFileSync(file, "{");
    await expect(ablate(options)).rejects.toThrow(/results.json\] is no JSON/);
  });

  it("shows its options, and refuses what it does not know, in its own words", () => {
    const program = fileURLToPath(new URL("./run.ts", import.meta.url));
    const run = (...args: string[]): SpawnSyncReturns<string> =>
      spawnSync(process.execPath, ["--conditions", "@md/source", "--import", "tsx", program, ...args], {
        encoding: "utf8",
        timeout: 60_000,
      });
    const help = run("--help");
    expect(help.status).toBe(0);
    for (const part of ["--samples", "--seeds", "--steps", "--out", "overrides", "1,8,64,128"])
      expect(help.stdout).toContain(part);
    for (const [args, message] of [
      [["--sample", "1"], /^ablate: Unknown option '--sample'/],
      [["--samples", "0"], /^ablate: \[--samples\] has "0", expected/],
      [["policy.nois=1"], /^ablate: .* policy\.nois is unknown/],
      [["--out", program], /^ablate: \[--out\] is .*run\.ts is no folder/],
    ] as const) {
      const refused = run(...args);
      expect(refused.stderr).toMatch(message);
      expect(refused.stderr).not.toMatch(/^ +at /m);
      expect(refused.status).toBe(2);
    }
  }, 240_000);

  it("names the option of a policy that cannot be used", async () => {
    const layers = [...options.layers, parseOverride("policy.horizon=2")];
    await expect(ablate({ ...options, out: join(out, "refused"), layers })).rejects.toThrow(
      /policy\.horizon is 2, expected 1/,
    );
  });

  it("judges by the nearer of two spheres of the named colour", () => {
    const scene: ReachScene = Array.from({ length: 10 }, (_, i) => makeReachEpisode(1, i).scene).find(
      ({ ambiguous }) => ambiguous,
    )!;
    for (const { position, color } of scene.spheres) {
      const metres = metresToNamed(position, scene);
      if (color === scene.color) expect(metres).toBe(0);
      else expect(metres).toBeGreaterThan(0.06);
    }
    expect(metresToNamed([NaN, 0, 0], scene)).toBeNaN();
  });

  it("evaluates after the last step, at most twelve times", () => {
    expect([...evaluationSteps(1200)].slice(-2)).toEqual([1100, 1200]);
    expect(evaluationSteps(1200).size).toBe(12);
    expect([...evaluationSteps(2)]).toEqual([1, 2]);
  });
});

describe("statements", () => {
  const runsOf = (shares: Record<number, number[]>): AblationRun[] =>
    Object.entries(shares).flatMap(([samples, finals]) =>
      finals.map((share, seed) => ({
        samples: Number(samples),
        seed,
        curve: [{ step: 1, seconds: 1, within1cm: share, within3deg: 1, withinBoth: share }],
      })),
    );

  it("claims an order up to 64 where the seeds stand apart", () => {
    const [last] = statements(runsOf({ 1: [0.1, 0.2], 8: [0.3, 0.4], 64: [0.5, 0.6], 128: [0.1, 0.1] }));
    expect(last).toMatch(
      /^M = 64 > 8 > 1 beyond the spread of 2 seeds: .* M = 64 \(50% to 60%\), M = 8 \(30% to 40%\)/,
    );
  });

  it("says so where they overlap, touch, or are not numbers", () => {
    for (const larger of [
      [0.4, 0.6],
      [0.35, 0.6],
      [NaN, 0.6],
    ]) {
      const [last] = statements(runsOf({ 1: [0.1, 0.2], 8: [0.3, 0.4], 64: larger }));
      expect(last).toMatch(
        /^It is not so that M = 64 > 8 > 1 .*: M = 64 .* does not stand above M = 8 \(30% to 40%\)\.$/,
      );
    }
  });

  it("says nothing about one seed or one M", () => {
    expect(statements(runsOf({ 1: [0.1], 8: [0.5] }))).toEqual([expect.stringMatching(/^No statement/)]);
    expect(statements(runsOf({ 64: [0.1, 0.2], 128: [0.5, 0.6] }))).toEqual([expect.stringMatching(/^No statement/)]);
  });
});
