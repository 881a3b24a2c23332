import { join } from "node:path";
import { getPolicy } from "@md/diffusion";
import { getNumThreads, isa } from "@md/tensor";
import {
  type ConfigLayer,
  DEMO_DENOISING_STEPS,
  DEMO_SCENES,
  formatSeconds,
  makeOutFolder,
  percent,
  type ProgressDisplay,
  readPreset,
  resolveConfig,
  resolveModel,
  type TrainConfig,
} from "@md/train";
import { ablationReport } from "./report.js";
import {
  type AblationResults,
  type AblationRun,
  type AblationSettings,
  readFinishedRuns,
  replaceFile,
} from "./results.js";
import { makeReachDataset, type ReachDataset } from "./scenes.js";
import { statements } from "./statement.js";
import { trainCurve } from "./train.js";
import { CANDIDATES } from "./unseen-actions.js";

export interface AblationOptions {
  /** Folder for `results.json` and `report.html`. */
  out: string;
  /** Values of M. */
  samples: readonly number[];
  /** Trainings for each M, with seeds from 0. */
  seeds: number;
  /** Gradient steps of every training. */
  steps: number;
  /** Configuration over the preset demo. */
  layers: readonly ConfigLayer[];
  /** Default: those of the demo. */
  trainingScenes?: number;
  /** Default: those of the demo. */
  unseenScenes?: number;
  /** Shows the training in progress. */
  display?: () => ProgressDisplay;
  /** Takes a line of text at a time. */
  log(text: string): void;
}

/**
 * Trains every M with every seed, seed by seed, so that results that are cut short hold every M. Runs that `results.json`
 * has of the same settings are kept and not trained again.
 */
export async function ablate(options: AblationOptions): Promise<AblationResults> {
  const { out, samples, seeds, steps, log } = options;
  const { trainingScenes = DEMO_SCENES.training, unseenScenes = DEMO_SCENES.unseen } = options;
  const configure = await configurator(options);
  const { seed, ...config } = configure(samples[0]!, 0);
  const { samples: first, ...policy } = config.policy;
  void [seed, first];
  const settings: AblationSettings = {
    steps,
    trainingScenes,
    unseenScenes,
    candidates: CANDIDATES,
    denoisingSteps: DEMO_DENOISING_STEPS,
    isa: isa(),
    threads: getNumThreads(),
    config: { ...config, policy },
  };
  makeOutFolder(out);
  const file = join(out, "results.json");
  const wanted = Array.from({ length: seeds }, (_, seed) => samples.map((count) => ({ samples: count, seed }))).flat();
  const isSame = (a: { samples: number; seed: number }, b: typeof a): boolean =>
    a.samples === b.samples && a.seed === b.seed;
  const runs: AblationRun[] = readFinishedRuns(file, settings);
  const missing = wanted.filter((run) => !runs.some((other) => isSame(run, other)));
  log(`${wanted.length} runs of ${steps} steps, ${wanted.length - missing.length} of them found in ${file}`);

  const finish = (): AblationResults => {
    const results = { settings, statements: statements(runs), runs };
    replaceFile(file, `${JSON.stringify(results, null, 2)}\n`);
    replaceFile(join(out, "report.html"), ablationReport(results));
    return results;
  };
  if (missing.length === 0) return finish();
  const data = {
    training: makeReachDataset(trainingScenes, 0, config.data),
    unseen: makeReachDataset(unseenScenes, 1, config.data),
  };
  const start = performance.now();
  for (const [done, run] of missing.entries()) {
    log(`M = ${run.samples}, seed ${run.seed}:`);
    const curve = await trainShown(configure(run.samples, run.seed), data, options.display?.());
    runs.push({ ...run, curve });
    const { within1cm, within3deg, seconds } = curve.at(-1)!;
    const left = ((performance.now() - start) / 1000 / (done + 1)) * (missing.length - done - 1);
    log(
      `  ${percent(within1cm)} within 1 cm, ${percent(within3deg)} within 3° after ${formatSeconds(seconds)} of training; ` +
        `runs left: ${missing.length - done - 1}, about ${formatSeconds(left)}`,
    );
    finish();
  }
  return finish();
}

// The configuration of a run by its samples and seed.
async function configurator({
  layers,
  steps,
}: AblationOptions): Promise<(samples: number, seed: number) => TrainConfig> {
  const all = [readPreset("demo"), ...layers];
  const { defaults } = getPolicy(resolveModel(all));
  return (samples, seed) => {
    const values = { seed, policy: { samples }, training: { steps, maxMinutes: null } };
    return resolveConfig([...all, { source: "ablation", values }], defaults);
  };
}

async function trainShown(
  config: TrainConfig,
  data: { training: ReachDataset; unseen: ReachDataset },
  display: ProgressDisplay | undefined,
): ReturnType<typeof trainCurve> {
  const steps = config.training.steps!;
  const start = performance.now();
  const curve = await trainCurve(config, data, ({ step, loss, dataSeconds }) => {
    const elapsed = (performance.now() - start) / 1000;
    const rate = step / elapsed;
    const secondsLeft = (steps - step) / rate;
    display?.update({ step, steps, progress: step / steps, rate, dataSeconds, secondsLeft, loss });
  });
  display?.finish();
  return curve;
}
