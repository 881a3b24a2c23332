// npm run ablate [-- --samples 1,8,64,128 --seeds 3 --steps 4000 --out runs/ablate policy.embedDim=96 …]
import { parseArgs } from "node:util";
import { ConfigError, parseOverride, ProgressDisplay } from "@md/train";
import { ablate, type AblationOptions } from "./ablation.js";

/** 4 × 3 runs of them fit into an hour on two cores. */
const DEFAULT_STEPS = "4000";

function parseOptions(): AblationOptions {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      samples: { type: "string", default: "1,8,64,128" },
      seeds: { type: "string", default: "3" },
      steps: { type: "string", default: DEFAULT_STEPS },
      out: { type: "string", default: "runs/ablate" },
    },
  });
  const samples = values.samples.split(",").map((value) => parseCount("--samples", value));
  if (new Set(samples).size < samples.length)
    throw new ConfigError("--samples", "", `${values.samples} repeats a value`);
  return {
    out: values.out,
    samples,
    seeds: parseCount("--seeds", values.seeds),
    steps: parseCount("--steps", values.steps),
    layers: positionals.map(parseOverride),
    display: () => new ProgressDisplay(process.stderr),
    log: (text) => console.log(text),
  };
}

function parseCount(flag: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new ConfigError(flag, "", `has "${text}", expected an integer of at least 1`);
  return value;
}

const isUsageError = (error: unknown): error is Error =>
  error instanceof ConfigError ||
  (error instanceof Error && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS"));

try {
  const options = parseOptions();
  const { statements } = await ablate(options);
  console.log(`\n${statements.join("\n")}\n\nresults.json and report.html are in ${options.out}`);
} catch (error) {
  if (!isUsageError(error)) throw error;
  console.error(`ablate: ${error.message}`);
  process.exitCode = 2;
}
