import type { Command } from "commander";
import { hasCheckpoint } from "../checkpoint/checkpoint.js";
import type { ConfigLayer } from "../config/resolve.js";
import { parseOverride, readConfigFile, readPreset } from "../config/sources.js";
import { ConfigError } from "../errors.js";
import { evaluateCheckpoint, formatEvaluation } from "../evaluate/evaluation.js";
import { presetNames } from "../presets.js";
import { formatSeconds, ProgressDisplay } from "../progress.js";
import { configureRun } from "../run/configure.js";
import { Run } from "../run/run.js";
import { remainingSignalWarning } from "../run/signal.js";
import { exitStatus } from "./failure.js";
import { abortOnSignals } from "./interrupt.js";
import { dataSource, deviceHelp, flagLayer, parseDevice } from "./options.js";
import { listSkipped, skipBadFlag, skipBadHelp } from "./skip-bad.js";

interface TrainFlags {
  data?: string;
  task?: string;
  out?: string;
  episodes?: string;
  valEpisodes?: string;
  preset: string;
  config?: string;
  set: string[];
  steps?: string;
  maxMinutes?: string;
  seed?: string;
  device?: string;
  model?: string;
  resume?: string;
  skipBad?: boolean;
}

/** `minidiff train`. */
export function addTrain(program: Command): void {
  program
    .command("train")
    .description("train a policy on RLBench demonstrations")
    .argument("[overrides...]", "assignments such as policy.embedDim=96")
    .option("--data <dir>", "folder of demonstrations, in any format that minidiff data info reads")
    .option("--task <names>", "tasks to train on, separated by commas (default: all)")
    .option("--out <run>", "folder for checkpoint and metrics")
    .option("--episodes <selection>", 'episodes to train on, such as "0-3,7" (default: all)')
    .option("--val-episodes <selection>", "episodes to hold out")
    .option("--preset <name>", `${presetNames().join(" or ")}`, "light")
    .option("--config <file>", "YAML file, over the preset")
    .option("--set <assignment>", "override, such as policy.embedDim=96; may be repeated", collect, [])
    .option("--steps <count>", "optimiser steps")
    .option("--max-minutes <minutes>", "limit of time; with --steps, whichever comes first")
    .option("--seed <seed>", "seed of initialisation, data order and noise")
    .option("--device <name>", deviceHelp)
    .option("--model <name>", "registered policy, or a module file that exports one; the file is run")
    .option(skipBadFlag, skipBadHelp)
    .option(
      "--resume <run>",
      "go on with an interrupted run; --steps, --max-minutes, --device and --model alone may be given with it",
    )
    .action(train);
}

const collect = (value: string, all: string[]): string[] => [...all, value];

async function train(overrides: string[], flags: TrainFlags): Promise<void> {
  const run = flags.resume === undefined ? await start(flags, overrides) : await resume(flags.resume, flags, overrides);
  const { config, device, policy, training, validation, out } = run.parts;
  const instructionTokens = Math.max(
    ...training.samples.flatMap(({ embeddings }) => embeddings.map(({ tokens }) => tokens)),
  );
  const { batchSize } = config.training;
  const flops = policy.stepFlops({ size: batchSize, pointsPerScene: config.data.points, instructionTokens });
  const warning = remainingSignalWarning(policy.config);
  console.log(
    `${config.model}: ${policy.numParameters.toLocaleString("en")} parameters, ` +
      `${((flops * config.training.accumulate) / 1e9).toFixed(1)} GFLOP a step, ` +
      `${training.samples.length} training states${validation ? `, ${validation.samples.length} held-out key poses` : ""}`,
  );
  if (warning) console.error(`minidiff: warning: ${warning}`);
  await abortOnSignals((signal) => run.train({ signal, display: new ProgressDisplay(process.stderr) }));
  const { step, elapsedSeconds, finished } = run.trainer;
  run.dispose();
  console.log(`${step} steps in ${formatSeconds(elapsedSeconds)}; checkpoint and metrics are in ${out}`);
  const heldOut = run.parts.metadata.trainedOn?.heldOut;
  if (finished && heldOut) {
    const data = { root: heldOut.root, ids: new Set(heldOut.episodes) };
    console.log(
      formatEvaluation(
        await evaluateCheckpoint({ checkpoint: out, model: flags.model, data, device, mustBeHeldOut: true }),
      ),
    );
  }
  if (!finished) process.exitCode = exitStatus.interrupted;
}

async function start(flags: TrainFlags, overrides: readonly string[]): Promise<Run> {
  const { data, task, out, episodes, valEpisodes } = flags;
  if (data === undefined) throw new ConfigError("train", "--data", "is missing");
  if (out === undefined) throw new ConfigError("train", "--out", "is missing");
  const layers: ConfigLayer[] = [readPreset(flags.preset)];
  if (flags.config !== undefined) layers.push(readConfigFile(flags.config));
  layers.push(...[...flags.set, ...overrides].map(parseOverride));
  if (flags.seed !== undefined) layers.push(flagLayer("--seed", "seed", flags.seed));
  if (flags.device !== undefined) layers.push(flagLayer("--device", "device", flags.device));
  layers.push(...budgetLayers(flags));
  const { model } = flags;
  // First, lest the older run hide what is wrong with the configuration.
  await configureRun({ layers, model });
  if (hasCheckpoint(out))
    throw new ConfigError("train", "--out", `${out} holds a run already; --resume it, or name another folder`);
  const onBad = listSkipped(flags.skipBad);
  return Run.start({
    out,
    model,
    layers,
    data: dataSource(data, task, episodes, onBad),
    ...(valEpisodes !== undefined && { validation: dataSource(data, task, valEpisodes, onBad) }),
  });
}

function resume(run: string, flags: TrainFlags, overrides: readonly string[]): Promise<Run> {
  const others = ["data", "task", "out", "episodes", "valEpisodes", "config", "seed", "skipBad"] as const;
  const given = others.find((name) => flags[name] !== undefined);
  if (given || flags.set.length > 0 || overrides.length > 0) {
    throw new ConfigError(
      "train",
      "--resume",
      "takes all but --steps, --max-minutes, --device and --model from the checkpoint",
    );
  }
  return Run.resume(run, { model: flags.model, device: parseDevice(flags.device), budget: budgetLayers(flags) });
}

// A limit on the command line stands alone, whatever the preset says of the other.
function budgetLayers({ steps, maxMinutes }: TrainFlags): ConfigLayer[] {
  if (steps === undefined && maxMinutes === undefined) return [];
  return [
    flagLayer("--steps", "training.steps", steps ?? "null"),
    flagLayer("--max-minutes", "training.maxMinutes", maxMinutes ?? "null"),
  ];
}
