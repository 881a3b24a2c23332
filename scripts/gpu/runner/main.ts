// node check.mjs: builds and checks, and leaves results.json in $OUT, by default .cache/gpu-results.
// node check.mjs step NAME FILE: one step alone, its entries into FILE.
import { join } from "node:path";
import { check } from "./check.js";
import { Outcome, writeJson } from "./outcome.js";

// The folder that scripts/gpu/stage has filled: this file lies in it.
const stage = import.meta.dirname;
const [verb, name = "", file = ""] = process.argv.slice(2);
if (verb === "step") {
  // Loads the addon, which the check itself has yet to build.
  const { runStep } = await import("./steps.js");
  await runStep(name, stage, new Outcome((entries) => writeJson(file, entries)));
} else {
  const started = Number(process.env.MD_GPU_STARTED ?? Date.now() / 1000) * 1000;
  const out = process.env.OUT || join(".cache", "gpu-results");
  process.exitCode = await check({ stage, out, program: process.argv[1]!, started });
}
