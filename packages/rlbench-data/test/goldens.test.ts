import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkRlbenchGolden } from "./support/check-rlbench-golden.js";
import { goldensFolder, missing, rlbenchFolder } from "./support/paths.js";

const files = existsSync(goldensFolder)
  ? readdirSync(goldensFolder).filter((name) => /^rlbench_.*\.safetensors$/.test(name))
  : [];

test("golden folder", (ctx) => {
  const reason = missing(goldensFolder) ?? missing(rlbenchFolder);
  if (reason) {
    console.warn(`rlbench goldens skipped: ${reason}`);
    ctx.skip(reason);
  }
  expect(files.length).toBeGreaterThan(0);
});

test.for(files)("%s", (name, ctx) => {
  const reason = missing(rlbenchFolder);
  if (reason) {
    console.warn(`${name} skipped: ${reason}`);
    ctx.skip(reason);
  }
  const report = checkRlbenchGolden(join(goldensFolder, name));
  expect(report.messages).toEqual([]);
  expect(report.failed).toBe(0);
  expect(report.passed).toBeGreaterThan(0);
});
