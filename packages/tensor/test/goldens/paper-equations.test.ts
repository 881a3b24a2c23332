import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { GoldenFile, goldensFolder } from "./golden-file.js";
import { checkPaperCase, paperCases } from "./paper-equations.js";

it("paper_equations.safetensors", (ctx) => {
  const path = join(goldensFolder, "paper_equations.safetensors");
  if (!existsSync(path)) {
    console.warn(`paper_equations goldens skipped: ${path} is not there`);
    ctx.skip(`${path} is not there`);
  }
  const file = new GoldenFile(path);
  const cases = paperCases(file);
  const failures: string[] = [];
  for (const { family, id } of cases.filter(({ pending }) => !pending)) {
    try {
      checkPaperCase(file, family, id);
    } catch (error) {
      failures.push(String(error));
    }
  }
  const pending = cases.filter((golden) => golden.pending).length;
  console.info(
    `paper_equations: ${cases.length - pending - failures.length} passed, ${failures.length} failed, ${pending} pending`,
  );
  expect(failures).toEqual([]);
  expect(cases.length - pending).toBeGreaterThan(0);
});
