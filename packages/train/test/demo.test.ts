import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MiniDiffuserLight } from "@md/diffusion";
import { Generator } from "@md/tensor";
import { afterAll, expect, it } from "vitest";
import { resolveConfig } from "../src/config/resolve.js";
import { parseOverride } from "../src/config/sources.js";
import { runDemo, type DemoOptions } from "../src/demo/demo.js";
import { loadScenes, provideScenes } from "../src/demo/scenes.js";
import { compareSolversOnScenes, solverCaption, solverTable } from "../src/demo/solver-table.js";
import { makeFixture, toyLayer } from "./support/fixture.js";

const { folder, remove } = makeFixture(1);
afterAll(remove);

it("refuses a configuration before it synthesises anything", async () => {
  const out = join(folder, "refused");
  const layers = [toyLayer, parseOverride("policy.nois=1")];
  await expect(runDemo({ out, layers, trainingScenes: 1, unseenScenes: 1, log: () => undefined })).rejects.toThrow(
    /policy\.nois is unknown/,
  );
  expect(existsSync(out)).toBe(false);
});

it("writes everything it promises, also where an earlier demo was interrupted, and finds fault with a poor policy", async () => {
  const out = join(folder, "demo");
  const unfinished = join(out, "data", "training-12-seed0.partial");
  mkdirSync(unfinished, { recursive: true });
  writeFileSync(join(unfinished, "left"), "");
  const lines: string[] = [];
  const options: DemoOptions = {
    out,
    layers: [toyLayer],
    trainingScenes: 12,
    unseenScenes: 11,
    log: (text) => void lines.push(text),
  };
  const result = await runDemo(options);
  expect(readdirSync(out).sort()).toEqual([
    "checkpoint.safetensors",
    "data",
    "eval.json",
    "metrics.jsonl",
    "report.html",
  ]);
  expect(readdirSync(join(out, "data")).sort()).toEqual(["training-12-seed0", "unseen-11-seed1"]);

  const { judgement, checks } = result!;
  expect(judgement.scenes).toBe(11);
  expect(judgement.ambiguous!.count).toBeGreaterThan(0);
  expect(checks[0]!.held).toBe(false);
  expect(judgement.controls.every(({ medianDistance }) => medianDistance < 1)).toBe(true);
  // The toy policy has no choice of solvers.
  expect(JSON.parse(readFileSync(join(out, "eval.json"), "utf8"))).toMatchObject({
    step: 10,
    scenes: 11,
    solvers: null,
  });
  expect(lines.join("\n")).toMatch(/a random sphere/);

  const report = readFileSync(join(out, "report.html"), "utf8");
  expect(report).toMatch(/<svg/);
  expect(report).not.toMatch(/https?:|<script|<link|<img|src=|url\(|NaN|undefined/);

  lines.length = 0;
  const controller = new AbortController();
  controller.abort();
  expect(await runDemo({ ...options, signal: controller.signal })).toBeNull();
  expect(lines[0]).toContain("found in");
});

it.each([
  ["epsilon", 100, ["ddim", "ddpm", "dpmsolver++1", "dpmsolver++"], [100, 10, 4]],
  ["flow_prediction", 50, ["euler", "heun"], [10, 4]],
])(
  "gives errors of a policy trained on %s with %i timesteps against steps",
  async (predictionType, K, names, steps) => {
    const { root } = provideScenes(join(folder, "scenes"), "few", 3, 0);
    const config = resolveConfig([toyLayer], {}).data;
    const sizes = { embedDim: 12, numHeads: 2, numLayers: 1, samples: 2, instructionDim: config.instructionDim };
    const generator = new Generator(1);
    using policy = new MiniDiffuserLight({ ...sizes, predictionType, numTrainTimesteps: K } as object, { generator });
    const table = await compareSolversOnScenes(policy, await loadScenes(root, config), { points: 32, seed: 0 });
    expect(table!.scenes).toBe(3);
    const { titles, rows } = solverTable(table!);
    expect(titles).toEqual(["solver", ...steps.map((count) => `${count} steps`)]);
    expect(rows.map(([name]) => name)).toEqual(policy.solvers);
    expect(rows.map(([name]) => name)).toEqual(expect.arrayContaining(names));
    for (const row of rows) {
      expect(row).toHaveLength(titles.length);
      for (const cell of row.slice(1)) expect(cell).toMatch(/^\d+\.\d\d \([\d.]+%\)$/);
    }
    expect(solverCaption(table!)).toContain("first 3 unseen scenes");
  },
);
