import { createHash } from "node:crypto";
import type { EpisodeRef, EpisodeSource } from "../../episode-source.js";
import { DataError, type OnBad, orSkipAsync } from "../../errors.js";
import { openDataset } from "../../open-dataset.js";
import { inLanes } from "../../threads/episode-lanes.js";
import { EpisodeWorker } from "../../threads/episode-worker.js";
import type { ConvertProgress, ConvertResult } from "../compact/convert.js";
import { beginConversion, checkConversion, type Conversion, endConversion } from "../conversion-folder.js";
import {
  camerasOfEpisode,
  type EpisodeOutline,
  type EpisodePlan,
  exportEpisode,
  type ExportFolders,
  type ExportJob,
  type ExportOutcome,
  outlineEpisode,
  type WrittenEpisode,
} from "./export-episode.js";
import { featuresOf, type LeRobotCamera } from "./features.js";
import { writeLeRobotMeta } from "./meta.js";
import { INFO_FILE } from "./source.js";
import { FeatureStats } from "./stats.js";

/** What {@link exportLeRobot} exports. */
export interface LeRobotExportOptions {
  /** Folder of episodes in any format that has images. */
  from: string;
  /** Folder to write; new, empty, or of an export of the same folder that was interrupted. */
  to: string;
  /** Which cameras, as all episodes must have the same. Default: those of the first episode. */
  cameras?: readonly string[];
  /** Worker threads; 0 for none. Default: by the number of episodes and processors. */
  workers?: number;
  /** Called with each episode or part that cannot be read, which is then left out. Default: the error is thrown. */
  onBad?: OnBad;
  /** Called after each episode. */
  onProgress?: (progress: ConvertProgress) => void;
  /** Ends the export after the episode at hand. */
  signal?: AbortSignal;
}

/**
 * Writes the key steps of a data set as a LeRobot v3 data set: an episode a parquet file, with the metadata that
 * LeRobot's tools read and, in `meta/minidiff.json`, what reading it back needs besides. Each episode is read back and
 * compared; `meta/info.json` comes last. The bytes depend neither on the number of workers nor on interruptions.
 *
 * @throws DataError when `to` holds anything else, the episodes' cameras differ, there are no images, or an episode
 *   cannot be read and there is no `onBad`
 */
export async function exportLeRobot(options: LeRobotExportOptions): Promise<ConvertResult> {
  const { from, to, onBad } = options;
  const source = openDataset(from, { onBad });
  const conversion: Conversion = { from, to, format: "lerobot", indexFile: INFO_FILE, episodeFolder: "data" };
  checkConversion(conversion);
  const running = new LeRobotExport(source, conversion, options);
  try {
    const result = await running.run();
    if (result.finished) endConversion(conversion);
    return result;
  } finally {
    await running.close();
  }
}

/** The episodes in their places; the first one decides about the cameras. */
interface Layout {
  cameras: readonly LeRobotCamera[];
  /** Instructions, in the order of their task_index. */
  tasks: readonly string[];
  plans: ReadonlyMap<EpisodeRef, EpisodePlan>;
}

/** What a round of writing gave. */
interface Round extends Pick<ConvertResult, "written" | "kept" | "bytes"> {
  stats: ReadonlyMap<string, FeatureStats>;
}

type ExportThread = EpisodeWorker<ExportOutcome, ExportJob>;
type ExportWorker = Pick<ExportThread, "run">;

class LeRobotExport {
  private readonly refs: readonly EpisodeRef[];
  /** Of episodes that are not known to be bad. */
  private readonly outlines = new Map<EpisodeRef, EpisodeOutline>();
  private readonly reported = new Set<EpisodeRef>();
  private readonly idle: ExportThread[] = [];

  constructor(
    private readonly source: EpisodeSource,
    private readonly conversion: Conversion,
    private readonly options: LeRobotExportOptions,
  ) {
    this.refs = source.listEpisodes();
  }

  // An episode's place depends on those before it. That one of them is bad may show only in its images: then all are
  // written again without it.
  async run(): Promise<ConvertResult> {
    const { from, to, signal } = this.options;
    await this.inLanes(this.refs, (ref, worker) => this.outline(ref, worker));
    if (signal?.aborted) return { finished: false, written: 0, kept: 0, skipped: 0, bytes: 0 };
    for (;;) {
      const { cameras, tasks, plans } = await this.layOut();
      const { stats, ...counts } = await this.write(cameras, plans);
      const result = { finished: false, ...counts, skipped: this.refs.length - this.outlines.size };
      if (this.outlines.size === 0) throw new DataError(from, "has no episode that can be converted");
      const done = counts.written + counts.kept;
      if (done < this.outlines.size) return result;
      if (done < plans.size) continue;
      const entries = [...plans.values()].map(({ entry }) => entry);
      writeLeRobotMeta(to, { cameras, entries, tasks, stats });
      return { ...result, finished: true };
    }
  }

  private async outline(ref: EpisodeRef, worker: ExportWorker | null): Promise<void> {
    // What a worker cannot read is tried again here, where its error is whole.
    const byWorker = worker && ((await worker.run({ ...ref, plan: null })) as EpisodeOutline | null);
    const outline = byWorker ?? (await orSkipAsync(this.options.onBad, () => outlineEpisode(this.source, ref)));
    if (outline) this.outlines.set(ref, outline);
    else this.report(ref);
  }

  private async layOut(): Promise<Layout> {
    const plans = new Map<EpisodeRef, EpisodePlan>();
    const tasks = new Map<string, number>();
    let cameras: readonly LeRobotCamera[] = [];
    let rows = 0;
    for (const ref of this.refs) {
      const outline = this.outlines.get(ref);
      if (!outline) continue;
      const { entry } = outline;
      const found = await orSkipAsync(this.options.onBad, () => this.camerasFor(ref, outline, cameras));
      if (!found) {
        this.outlines.delete(ref);
        this.report(ref);
        continue;
      }
      cameras = found;
      const { texts } = entry.instructions;
      for (const text of texts) if (!tasks.has(text)) tasks.set(text, tasks.size);
      const place = { episodeIndex: plans.size, firstIndex: rows, taskIndex: tasks.get(texts[0])! };
      plans.set(ref, { entry, cameras, place });
      rows += entry.frames;
    }
    return { cameras, tasks: [...tasks.keys()], plans };
  }

  private async camerasFor(
    ref: EpisodeRef,
    outline: EpisodeOutline,
    ofFirst: readonly LeRobotCamera[],
  ): Promise<readonly LeRobotCamera[]> {
    const { cameras: chosen } = this.options;
    const cameras = ofFirst.length > 0 ? ofFirst : await camerasOfEpisode(this.source, ref, chosen);
    const names = cameras.map(({ name }) => name);
    if (!chosen && [...outline.cameras].sort().join() !== [...names].sort().join())
      throw new DataError(
        outline.file,
        `has the cameras ${outline.cameras.join(", ")}, expected ${names.join(", ")} as in the first episode; choose cameras that all episodes have`,
      );
    return cameras;
  }

  private async write(cameras: readonly LeRobotCamera[], plans: ReadonlyMap<EpisodeRef, EpisodePlan>): Promise<Round> {
    const layout = JSON.stringify([cameras, ...plans.values()]);
    if (plans.size > 0) beginConversion(this.conversion, createHash("sha256").update(layout).digest("hex"));
    const features = Object.entries(featuresOf(cameras));
    const stats = new Map(features.map(([name, feature]) => [name, new FeatureStats(feature)]));
    const waiting = new Map<number, WrittenEpisode>();
    const round: Round = { written: 0, kept: 0, bytes: 0, stats };
    let merged = 0;
    await this.inLanes([...plans.keys()], async (ref, worker) => {
      const plan = plans.get(ref)!;
      const byWorker = worker && ((await worker.run({ ...ref, plan })) as WrittenEpisode | null);
      const write = (): Promise<WrittenEpisode> => exportEpisode(this.source, ref, this.options.to, plan);
      const episode = byWorker ?? (await orSkipAsync(this.options.onBad, write));
      if (episode) {
        if (episode.kept) round.kept++;
        else round.written++;
        if (!episode.kept) round.bytes += episode.bytes;
        waiting.set(plan.place.episodeIndex, episode);
      } else this.outlines.delete(ref);
      if (this.outlines.size < plans.size) waiting.clear();
      // In the order of the episodes, so that the same sums are rounded.
      for (let next; (next = waiting.get(merged)); waiting.delete(merged++))
        for (const [name, sums] of Object.entries(next.stats)) stats.get(name)!.merge(sums);
      this.report(ref);
    });
    return round;
  }

  // Threads stay for the next round.
  private inLanes(
    refs: readonly EpisodeRef[],
    body: (ref: EpisodeRef, worker: ExportWorker | null) => Promise<void>,
  ): Promise<void> {
    const { from, to, workers, signal } = this.options;
    const folders: ExportFolders = { from, to };
    const startWorker = (): ExportWorker & { close(): Promise<void> } => {
      const thread = this.idle.pop() ?? new EpisodeWorker("formats/lerobot/export-worker", folders);
      return {
        run: (job) => thread.run(job),
        close: () => Promise.resolve(void this.idle.push(thread)),
      };
    };
    return inLanes(refs, { workers, startWorker, signal }, body);
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    await Promise.all(this.idle.map((thread) => thread.close()));
  }

  private report(ref: EpisodeRef): void {
    if (this.reported.has(ref)) return;
    this.reported.add(ref);
    this.options.onProgress?.({ done: this.reported.size, total: this.refs.length, id: ref.id });
  }
}
