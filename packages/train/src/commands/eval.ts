import type { Command } from "commander";
import { ConfigError } from "../errors.js";
import {
  evaluateCheckpoint,
  type Evaluation,
  type EvaluationSource,
  formatEvaluation,
} from "../evaluate/evaluation.js";
import { compareSolvers, formatSolverComparison, type SolverComparison } from "../evaluate/solver-comparison.js";
import {
  dataSource,
  deviceHelp,
  parseDevice,
  parseInteger,
  parseNumber,
  parseSolver,
  solverHelp,
  solverOptions,
} from "./options.js";
import { listSkipped, skipBadFlag, skipBadHelp } from "./skip-bad.js";

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
  shift?: string;
  seed: string;
  device?: string;
  skipBad?: boolean;
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
    .option("--solver <names>", `${solverHelp}; several, separated by commas, or all are compared`)
    .option("--steps <counts>", "denoising steps; several, separated by commas, are compared")
    .option("--shift <factor>", "of euler and heun: over 1 puts more steps where there is more noise")
    .option("--seed <seed>", "seed of the candidates", "0")
    .option("--device <name>", deviceHelp)
    .option(skipBadFlag, skipBadHelp)
    .option("--json", "print everything as JSON")
    .action(run);
}

async function run(flags: EvalFlags): Promise<void> {
  if (flags.episodes !== undefined && flags.valEpisodes !== undefined) {
    throw new ConfigError("eval", "--episodes", "and --val-episodes exclude each other");
  }
  const source: EvaluationSource = {
    checkpoint: flags.checkpoint,
    model: flags.model,
    data: dataSource(flags.data, flags.task, flags.valEpisodes ?? flags.episodes, listSkipped(flags.skipBad)),
    mustBeHeldOut: flags.valEpisodes !== undefined,
    turn: parseNumber("--turn", flags.turn),
    samples: parseInteger("--samples", flags.samples, 1),
    seed: parseInteger("--seed", flags.seed, 0),
    device: parseDevice(flags.device),
  };
  const [found, text] = compares(flags) ? await compare(source, flags) : await judge(source, flags);
  console.log(flags.json ? JSON.stringify(found, null, 2) : text);
}

async function judge(source: EvaluationSource, flags: EvalFlags): Promise<[Evaluation, string]> {
  const evaluation = await evaluateCheckpoint({ ...source, ...solverOptions(flags) });
  return [evaluation, formatEvaluation(evaluation)];
}

const compares = ({ solver, steps }: EvalFlags): boolean =>
  solver === "all" || [solver, steps].some((value) => value?.includes(","));

async function compare(source: EvaluationSource, flags: EvalFlags): Promise<[SolverComparison, string]> {
  const { solver = "all", steps, shift } = flags;
  if (steps === undefined) throw new ConfigError("eval", "--steps", "is missing, to compare solvers at");
  const comparison = await compareSolvers({
    ...source,
    ...(solver !== "all" && { solvers: solver.split(",").map(parseSolver) }),
    steps: steps.split(",").map((count) => parseInteger("--steps", count, 1)),
    ...(shift !== undefined && { shift: parseNumber("--shift", shift) }),
  });
  return [comparison, formatSolverComparison(comparison)];
}
