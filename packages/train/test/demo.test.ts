import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { parseOverride } from "../src/config/sources.js";
import { runDemo, type DemoOptions } from "../src/demo/demo.js";
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
  expect(JSON.parse(readFileSync(join(out, "eval.json"), "utf8"))).toMatchObject({ step: 10, scenes: 11 });
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
