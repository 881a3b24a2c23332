import { statSync } from "node:fs";
import type { Command } from "commander";
import { stringify } from "yaml";
import { Checkpoint } from "../checkpoint/checkpoint.js";
import { formatSeconds } from "../progress.js";

/** `minidiff info`. */
export function addInfo(program: Command): void {
  program
    .command("info")
    .description("show what a checkpoint holds")
    .argument("<checkpoint>", "folder of a run, or checkpoint file")
    .option("--model <file>", "module file of a policy that is not registered; it is run")
    .option("--json", "print it as JSON")
    .action(run);
}

async function run(path: string, { json, model }: { json?: boolean; model?: string }): Promise<void> {
  using checkpoint = new Checkpoint(path);
  const { file, metadata, hasEma } = checkpoint;
  const policy = await checkpoint.loadPolicy({ weights: "model", model });
  const { numParameters } = policy;
  policy.dispose();
  if (json) {
    console.log(
      JSON.stringify({ file, bytes: statSync(file).size, parameters: numParameters, hasEma, ...metadata }, null, 2),
    );
    return;
  }
  const { step, elapsedSeconds, config, trainedOn, statistics } = metadata;
  const summary = {
    checkpoint: file,
    bytes: statSync(file).size,
    parameters: numParameters,
    averagedWeights: hasEma,
    steps: step,
    trainedFor: formatSeconds(elapsedSeconds),
    episodes: trainedOn?.episodes.length ?? null,
    heldOut: trainedOn?.heldOut ?? null,
    data: trainedOn?.root ?? null,
    statistics,
    config,
  };
  console.log(stringify(summary).trimEnd());
}
