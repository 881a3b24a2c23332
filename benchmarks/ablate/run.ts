import { parseArgs } from "node:util";
import { ConfigError, parseOverride, ProgressDisplay } from "@md/train";
import { ablate, type AblationOptions } from "./ablation.js";

// 4 × 3 runs of 4000 steps fit into an hour on two cores.
const defaults = { samples: "1,8,64,128", seeds: "3", steps: "4000", out: "runs/ablate" };

const usage = `Usage: npm run ablate -- [options] [overrides...]

Trains with every number M of noised samples a scene at equal gradient steps, and judges each on unseen scenes.

Arguments:
  overrides        assignments such as policy.embedDim=96, over the preset demo

Options:
  --samples <M,…>  noised samples a scene (default: ${defaults.samples})
  --seeds <count>  trainings for each M (default: ${defaults.seeds})
  --steps <count>  gradient steps of every training (default: ${defaults.steps})
  --out <folder>   for results.json and report.html; its finished trainings are kept (default: ${defaults.out})
  -h, --help       show this`;

/** The options of the command line; null where it asks for help. */
function parseOptions(): AblationOptions | null {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      samples: { type: "string", default: defaults.samples },
      seeds: { type: "string", default: defaults.seeds },
      steps: { type: "string", default: defaults.steps },
      out: { type: "string", default: defaults.out },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) return null;
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
  if (options) {
    const { statements } = await ablate(options);
    console.log(`\n${statements.join("\n")}\n\nresults.json and report.html are in ${options.out}`);
  } else {
    console.log(usage);
  }
} catch (error) {
  if (!isUsageError(error)) throw error;
  console.error(`ablate: ${error.message}`);
  process.exitCode = 2;
}
