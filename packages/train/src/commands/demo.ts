import type { Command } from "commander";
import { parseOverride, readPreset } from "../config/sources.js";
import { runDemo } from "../demo/demo.js";
import { ProgressDisplay } from "../progress.js";
import { exitStatus } from "./failure.js";
import { abortOnSignals } from "./interrupt.js";
import { parseInteger } from "./options.js";

/** `minidiff demo`. */
export function addDemo(program: Command): void {
  program
    .command("demo")
    .description("synthesise demonstrations, train on them, and judge the policy on unseen scenes")
    .argument("[overrides...]", "assignments such as policy.embedDim=96, over the preset demo")
    .option("--out <run>", "folder for all that it writes", "runs/demo")
    .option("--seed <seed>", "seed of scenes and training", "0")
    .action(demo);
}

async function demo(overrides: string[], flags: { out: string; seed: string }): Promise<void> {
  const seed = parseInteger("--seed", flags.seed, 0);
  const layers = [readPreset("demo"), { source: "--seed", values: { seed } }, ...overrides.map(parseOverride)];
  const result = await abortOnSignals((signal) =>
    runDemo({
      out: flags.out,
      layers,
      seed,
      signal,
      display: new ProgressDisplay(process.stderr),
      log: (text) => console.log(text),
    }),
  );
  if (!result) process.exitCode = exitStatus.interrupted;
  else if (!result.checks.every(({ held }) => held)) process.exitCode = exitStatus.failure;
}
