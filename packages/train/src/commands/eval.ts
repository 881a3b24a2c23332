import type { Command } from "commander";
import { ConfigError } from "../errors.js";
import { evaluateCheckpoint, formatEvaluation } from "../evaluate/evaluation.js";
import { dataSource, parseInteger, parseNumber, parseSolver } from "./options.js";

interface EvalFlags {
  checkpoint: string;
  model?: string;
  data: string;
  task?: string;
  episodes?: string;
  valEpisodes?: string;
  turn: string;
  samples: string;
  solver?: string;
  steps?: string;
  seed: string;
  json?: boolean;
}

/** `minidiff eval`. */
export function addEval(program: Command): void {
  program
    .command("eval")
    .description("judge a checkpoint on demonstrations, by task and key pose")
    .requiredOption("--checkpoint <run>", "folder of a run, or checkpoint file")
    .option("--model <file>", "module file of a policy that is not registered; it is run")
    .requiredOption("--data <dir>", "folder of demonstrations")
    .option("--task <names>", "tasks, separated by commas (default: all)")
    .option("--episodes <selection>", 'episodes, such as "0-3,7" (default: all)')
    .option("--val-episodes <selection>", "episodes that must not have been trained on")
    .option("--turn <degrees>", "turn the scenes about z", "0")
    .option("--samples <count>", "candidates a scene, whose median is judged", "16")
    .option("--solver <name>", "ddim or ddpm")
    .option("--steps <count>", "denoising steps")
    .option("--seed <seed>", "seed of the candidates", "0")
    .option("--json", "print everything as JSON")
    .action(run);
}

async function run(flags: EvalFlags): Promise<void> {
  if (flags.episodes !== undefined && flags.valEpisodes !== undefined) {
    throw new ConfigError("eval", "--episodes", "and --val-episodes exclude each other");
  }
  const evaluation = await evaluateCheckpoint({
    checkpoint: flags.checkpoint,
    model: flags.model,
    data: dataSource(flags.data, flags.task, flags.valEpisodes ?? flags.episodes),
    mustBeHeldOut: flags.valEpisodes !== undefined,
    turn: parseNumber("--turn", flags.turn),
    samples: parseInteger("--samples", flags.samples, 1),
    ...(flags.solver !== undefined && { solver: parseSolver(flags.solver) }),
    ...(flags.steps !== undefined && { steps: parseInteger("--steps", flags.steps, 1) }),
    seed: parseInteger("--seed", flags.seed, 0),
  });
  console.log(flags.json ? JSON.stringify(evaluation, null, 2) : formatEvaluation(evaluation));
}
