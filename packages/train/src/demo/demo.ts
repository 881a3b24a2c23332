import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DeviceName } from "@md/tensor";
import { Checkpoint } from "../checkpoint/checkpoint.js";
import type { ConfigLayer } from "../config/resolve.js";
import { formatTable } from "../evaluate/groups.js";
import { readMetrics } from "../metrics.js";
import { makeOutFolder } from "../out-folder.js";
import { formatSeconds, type ProgressDisplay } from "../progress.js";
import { configureRun } from "../run/configure.js";
import { Run } from "../run/run.js";
import { type Check, checkJudgement, formatJudgement } from "./checks.js";
import { judgeScenes, type Judgement } from "./judge.js";
import { demoReport } from "./report.js";
import { loadScenes, provideScenes } from "./scenes.js";
import { compareSolversOnScenes, solverCaption, solverTable } from "./solver-table.js";

/** How many scenes the demo trains on and judges. */
export const DEMO_SCENES = { training: 1500, unseen: 200 } as const;

export interface DemoOptions {
  /** Folder for demonstrations, checkpoint, metrics, `eval.json` and `report.html`. */
  out: string;
  layers: readonly ConfigLayer[];
  /** Default 0. Unseen scenes have another seed. */
  seed?: number;
  /** Scenes to train on. Default: those of {@link DEMO_SCENES}. */
  trainingScenes?: number;
  /** Scenes to judge. Default: those of {@link DEMO_SCENES}. */
  unseenScenes?: number;
  signal?: AbortSignal;
  display?: ProgressDisplay;
  /** Takes a line of text at a time. */
  log(text: string): void;
}

/** What the demo found, or null when it was interrupted. */
export type DemoResult = { judgement: Judgement; checks: Check[]; seconds: Record<string, number> } | null;

const VALIDATION_SCENES = 24;

/** Synthesises demonstrations, trains a policy on them, and judges it on scenes that it has not seen. */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { out, layers, seed = 0, signal, display, log } = options;
  const { trainingScenes = DEMO_SCENES.training, unseenScenes = DEMO_SCENES.unseen } = options;
  await configureRun({ layers });
  makeOutFolder(out);
  const clock = new StageClock();
  const folder = join(out, "data");
  const training = provideScenes(folder, "training", trainingScenes, seed);
  const unseen = provideScenes(folder, "unseen", unseenScenes, seed + 1);
  clock.end("synthesis");
  log(
    `${trainingScenes} demonstrations and ${unseenScenes} unseen scenes ${training.reused && unseen.reused ? "found" : "written"} in ${folder}`,
  );

  const validation = `0-${Math.min(VALIDATION_SCENES, unseenScenes) - 1}`;
  const run = await Run.start({
    out,
    layers,
    data: { root: training.root },
    validation: { root: unseen.root, episodes: validation },
  });
  const { config, policy } = run.parts;
  const toJudge = await loadScenes(unseen.root, config.data);
  clock.end("loading");
  log(describeRun(run));
  await run.train({ signal, display });
  clock.end("training");
  const { step, finished } = run.trainer;
  run.dispose();
  if (!finished) return null;

  const averaged = await loadAveraged(out, run.parts.device);
  const { points, instructionDim } = config.data;
  const { judgement, answers } = await judgeScenes(averaged, toJudge, run.parts.training, {
    points,
    instructionDim,
    seed,
  });
  const checks = checkJudgement(judgement);
  clock.end("evaluation");
  const solvers = await compareSolversOnScenes(averaged, toJudge, { points, seed });
  averaged.dispose();
  clock.end("solvers");
  const { seconds } = clock;
  const description = `${config.model} with ${policy.numParameters.toLocaleString("en")} parameters after ${step} steps of ${config.training.batchSize} scenes.`;
  const metrics = readMetrics(join(out, "metrics.jsonl"));
  writeFileSync(
    join(out, "eval.json"),
    `${JSON.stringify({ step, ...judgement, checks, solvers, seconds }, null, 2)}\n`,
  );
  const report = { description, metrics, judgement, checks, answers, solvers, seconds };
  writeFileSync(join(out, "report.html"), demoReport(report));
  log(`\n${formatJudgement(judgement, checks)}\n`);
  if (solvers) log(`${solverCaption(solvers)}\n\n${formatTable(solverTable(solvers))}\n`);
  log(
    formatTable({
      titles: ["stage", "time"],
      rows: Object.entries(seconds).map(([name, value]) => [name, formatSeconds(value)]),
    }),
  );
  log(`\ncheckpoint, metrics, eval.json and report.html are in ${out}`);
  return { judgement, checks, seconds };
}

function describeRun({ parts: { config, policy, training } }: Run): string {
  const instructionTokens = training.samples[0]!.embeddings[0]!.tokens;
  const flops = policy.stepFlops({
    size: config.training.batchSize,
    pointsPerScene: config.data.points,
    instructionTokens,
  });
  return `${config.model}: ${policy.numParameters.toLocaleString("en")} parameters, ${(flops / 1e9).toFixed(1)} GFLOP a step`;
}

async function loadAveraged(out: string, device: DeviceName): ReturnType<Checkpoint["loadPolicy"]> {
  using checkpoint = new Checkpoint(out);
  return await checkpoint.loadPolicy({ device });
}

/** Seconds between the ends of stages. */
class StageClock {
  readonly seconds: Record<string, number> = {};
  private last = performance.now();

  end(stage: string): void {
    const now = performance.now();
    this.seconds[stage] = (now - this.last) / 1000;
    this.last = now;
  }
}
