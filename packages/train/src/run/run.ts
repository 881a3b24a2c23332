import { join, resolve } from "node:path";
import type { Policy } from "@md/diffusion";
import type { BatchLoader, EpisodeRef, KeyPoseBatch, KeyPoseDataset } from "@md/rlbench-data";
import { type DeviceName, Generator } from "@md/tensor";
import { Checkpoint, type RunMetadata, saveCheckpoint } from "../checkpoint/checkpoint.js";
import { checkWhole } from "../checkpoint/metadata.js";
import { type ConfigLayer, resolveConfig } from "../config/resolve.js";
import type { TrainConfig } from "../config/schema.js";
import { type DataSource, listEpisodes, loadDataset } from "../data.js";
import { CheckpointError, ConfigError } from "../errors.js";
import { evaluate } from "../evaluate/evaluate.js";
import { summarize } from "../evaluate/score.js";
import { MetricsLog } from "../metrics.js";
import { checkOutFolder, makeOutFolder } from "../out-folder.js";
import type { ProgressDisplay } from "../progress.js";
import { type StepMetrics, Trainer } from "../trainer.js";
import { batchLoader, batchSource, dataStatistics } from "./batches.js";
import { configureRun } from "./configure.js";
import { createPolicy } from "./create-policy.js";

const VALIDATION_SAMPLES = 4;

/** What a run is made of. */
export interface RunParts {
  /** Folder of checkpoint and metrics. */
  out: string;
  config: TrainConfig;
  /** Where it trains, and the policy lies. */
  device: DeviceName;
  policy: Policy;
  training: KeyPoseDataset;
  /** Held-out key poses for the learning curve; null for none. */
  validation: KeyPoseDataset | null;
  metadata: RunMetadata;
}

/** A training run: the trainer, and what it writes into the run's folder on the way. */
export class Run {
  readonly trainer: Trainer;
  private readonly loader: BatchLoader<KeyPoseBatch>;
  private readonly metrics: MetricsLog;
  private readonly recent = new RecentRate();
  /** The last step, until it is in the metrics. */
  private unlogged: StepMetrics | null = null;

  private constructor(
    readonly parts: RunParts,
    checkpoint: Checkpoint | null,
  ) {
    const { config, policy, training, out } = parts;
    this.loader = batchLoader(training, config);
    this.trainer = new Trainer({
      policy,
      nextBatch: (index) => this.loader.batch(index),
      optimizer: config.optimizer,
      training: config.training,
      generator: new Generator(config.seed).fork("noise"),
    });
    checkpoint?.restore(this.trainer);
    makeOutFolder(out);
    const file = join(out, "metrics.jsonl");
    this.metrics = checkpoint ? MetricsLog.resume(file, this.trainer.step) : MetricsLog.create(file);
  }

  /**
   * A new run. What `out` holds of an older run is replaced.
   *
   * @param options.layers and `options.model` as in {@link configureRun}
   * @param options.data where it selects episodes, none of them may be held out
   * @param options.validation held out; its episodes are not trained on
   * @throws ConfigError for what cannot be used, and DeviceError, before anything is written
   */
  static async start(options: {
    out: string;
    model?: string;
    layers: readonly ConfigLayer[];
    data: DataSource;
    validation?: DataSource;
  }): Promise<Run> {
    const { out, data, validation } = options;
    const { factory, config, device } = await configureRun(options);
    checkOutFolder(out);
    const heldOut = validation ? listEpisodes(validation) : [];
    const selected = listEpisodes(data);
    const episodes = withoutHeldOut(selected, heldOut);
    const both = selected.find((episode) => !episodes.includes(episode));
    if (data.episodes !== undefined && both)
      throw new ConfigError("train", "--episodes", `and --val-episodes both select ${both.id}`);
    const training = await loadDataset(episodes, config.data, { onBad: data.onBad });
    const judged = validation
      ? await loadDataset(heldOut, config.data, { keyPosesOnly: true, onBad: validation.onBad })
      : null;
    const statistics = dataStatistics(training, config.data);
    const policy = createPolicy(factory, config, statistics, batchSource(training, config)(0), device);
    const parts: RunParts = {
      out,
      config,
      device,
      policy,
      training,
      validation: judged,
      metadata: {
        policy: { name: config.model, config: policy.config },
        statistics,
        config,
        trainedOn: {
          root: resolve(data.root),
          episodes: idsIn(episodes, training),
          heldOut: validation && judged ? { root: resolve(validation.root), episodes: idsIn(heldOut, judged) } : null,
        },
      },
    };
    return new Run(parts, null);
  }

  /**
   * Goes on with an interrupted run from its checkpoint.
   *
   * @param options.model module file of the policy, where it is none of the registered ones
   * @param options.device where to train, whatever device it was saved on. Default "cpu"
   * @param options.budget layers that may set another `training.steps` and `training.maxMinutes`; the schedule then
   *   follows the new budget. Without them the run is what it would have been in one go.
   */
  static async resume(
    run: string,
    options: { model?: string; device?: DeviceName; budget?: readonly ConfigLayer[] } = {},
  ): Promise<Run> {
    using checkpoint = new Checkpoint(run);
    const { metadata } = checkpoint;
    const { trainedOn } = metadata;
    if (!trainedOn) throw new CheckpointError(checkpoint.file, "was not written by a run on demonstrations");
    const factory = await checkpoint.findPolicy(options.model);
    checkWhole(checkpoint.file, "config.policy", factory.defaults, metadata.config.policy);
    const { model, device = "cpu" } = options;
    const policy = await checkpoint.loadPolicy({ weights: "model", model, device });
    const saved: ConfigLayer = { source: checkpoint.file, values: metadata.config };
    const config = resolveConfig([saved, ...(options.budget ?? [])], factory.defaults);
    const pick = ({ root, episodes }: { root: string; episodes: readonly string[] }): EpisodeRef[] => {
      const found = listEpisodes({ root, ids: new Set(episodes) });
      const absent = episodes.find((id) => !found.some((episode) => episode.id === id));
      if (absent !== undefined)
        throw new CheckpointError(checkpoint.file, `was trained with ${absent}, which ${root} lacks`);
      return found;
    };
    const heldOut = trainedOn.heldOut && pick(trainedOn.heldOut);
    const parts: RunParts = {
      out: run,
      config,
      device,
      policy,
      training: await loadDataset(pick(trainedOn), config.data),
      validation: heldOut && (await loadDataset(heldOut, config.data, { keyPosesOnly: true })),
      metadata: { policy: metadata.policy, statistics: metadata.statistics, config, trainedOn },
    };
    return new Run(parts, checkpoint);
  }

  /**
   * Trains until the budget is used up or `signal` aborts, and leaves a checkpoint either way. The first one is written
   * before the first step, so that there is one to go on from whenever a run is killed.
   */
  async train(options: { signal?: AbortSignal; display?: ProgressDisplay } = {}): Promise<void> {
    const { signal, display } = options;
    if (this.trainer.step === 0) this.save();
    await this.trainer.run({ signal, onStep: (metrics) => this.afterStep(metrics, display) });
    display?.finish();
    if (this.unlogged) this.log(this.unlogged);
    this.save();
  }

  private async afterStep(metrics: StepMetrics, display: ProgressDisplay | undefined): Promise<void> {
    const { trainer, parts } = this;
    const { logEvery, checkpointEvery, validateEvery, steps } = parts.config.training;
    const { step, loss, skipped } = metrics;
    const { rate, dataSeconds } = this.recent.add(metrics.dataSeconds);
    const { progress, elapsedSeconds } = trainer;
    const secondsLeft =
      steps !== null && progress === step / steps ? (steps - step) / rate : elapsedSeconds / progress - elapsedSeconds;
    display?.update({ step, steps, progress, rate, dataSeconds, secondsLeft, loss, skipped });
    this.unlogged = metrics;
    if (step % logEvery === 0 || step === 1) this.log(metrics);
    if (parts.validation && step % validateEvery === 0) await this.validate(parts.validation);
    if (step % checkpointEvery === 0) this.save();
  }

  private log({ parts, dataSeconds, updateSeconds, ...metrics }: StepMetrics): void {
    const { progress, elapsedSeconds: seconds } = this.trainer;
    const times = { data_s: dataSeconds, update_s: updateSeconds, seconds };
    this.metrics.write({ kind: "train", ...metrics, ...parts, progress, ...times });
    this.unlogged = null;
  }

  private async validate(dataset: KeyPoseDataset): Promise<void> {
    const { trainer, parts } = this;
    const { seed, data } = parts.config;
    const options = { points: data.points, sampling: data.sampling, samples: VALIDATION_SAMPLES, seed };
    const judge = (): ReturnType<typeof evaluate> => evaluate(trainer.policy, dataset, options);
    const results = trainer.ema ? await trainer.ema.withAverages(judge) : await judge();
    this.metrics.write({
      kind: "validation",
      step: trainer.step,
      seconds: trainer.elapsedSeconds,
      ...summarize(results),
    });
  }

  private save(): void {
    saveCheckpoint(this.parts.out, this.trainer, this.parts.metadata);
  }

  /** Frees policy, optimiser state and averaged weights, and ends the threads of the loader. */
  dispose(): void {
    void this.loader.close();
    this.trainer.dispose();
    this.parts.policy.dispose();
  }
}

/** Steps a second over the last steps, and the seconds that one of them waited for data. */
class RecentRate {
  private readonly times = [performance.now()];
  private readonly waits: number[] = [];

  add(dataSeconds: number): { rate: number; dataSeconds: number } {
    this.times.push(performance.now());
    this.waits.push(dataSeconds);
    if (this.times.length > 50) {
      this.times.shift();
      this.waits.shift();
    }
    const seconds = (this.times.at(-1)! - this.times[0]!) / 1000;
    const waited = this.waits.reduce((sum, wait) => sum + wait, 0);
    return { rate: this.waits.length / seconds, dataSeconds: waited / this.waits.length };
  }
}

// Of the episodes that were not left out as unreadable.
function idsIn(episodes: readonly EpisodeRef[], dataset: KeyPoseDataset): string[] {
  const read = new Set(dataset.samples.map(({ episode }) => episode));
  return episodes.map(({ id }) => id).filter((id) => read.has(id));
}

function withoutHeldOut(episodes: EpisodeRef[], heldOut: readonly EpisodeRef[]): EpisodeRef[] {
  const locations = new Set(heldOut.map(({ location }) => location));
  return episodes.filter(({ location }) => !locations.has(location));
}
