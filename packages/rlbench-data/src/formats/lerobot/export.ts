import {
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { EpisodeRef, RecordedEpisode } from "../../episode-source.js";
import { DataError, type OnBad, orSkipAsync } from "../../errors.js";
import { keySteps } from "../../key-steps.js";
import { openDataset } from "../../open-dataset.js";
import type { ConvertProgress } from "../compact/convert.js";
import { openLeRobotEpisode } from "./decode.js";
import { encodeLeRobotEpisode, type Placement } from "./encode.js";
import { camerasOf, featuresOf, type LeRobotCamera } from "./features.js";
import type { LeRobotEntry } from "./index-file.js";
import { writeLeRobotMeta } from "./meta.js";
import { chunkFile, placeOf } from "./source.js";
import { FeatureStats } from "./stats.js";

/** What {@link exportLeRobot} exports. */
export interface LeRobotExportOptions {
  /** Folder of episodes in any format that has images. */
  from: string;
  /** Folder to write; new or empty. */
  to: string;
  /** Which cameras, as all episodes must have the same. Default: those of the first episode. */
  cameras?: readonly string[];
  /** Called with each episode or part that cannot be read, which is then left out. Default: the error is thrown. */
  onBad?: OnBad;
  /** Called after each episode. */
  onProgress?: (progress: ConvertProgress) => void;
  /** Ends the export after the episode at hand; nothing is left of it. */
  signal?: AbortSignal;
}

/** Outcome of an export. */
export interface LeRobotExportResult {
  /** False when it was aborted. */
  finished: boolean;
  written: number;
  /** Episodes left out because they cannot be read. */
  skipped: number;
  /** Of the episodes' files. */
  bytes: number;
}

/**
 * Writes the key steps of a data set as a LeRobot v3 data set: an episode a parquet file, with the metadata that
 * LeRobot's tools read and, in `meta/minidiff.json`, what reading it back needs besides. Each episode is read back and
 * compared. The folder appears when it is whole.
 *
 * @throws DataError when `to` holds anything, the episodes' cameras differ, there are no images, or an episode cannot be
 *   read and there is no `onBad`
 */
export async function exportLeRobot(options: LeRobotExportOptions): Promise<LeRobotExportResult> {
  const { from, to, cameras, onBad, onProgress, signal } = options;
  const source = openDataset(from, { onBad });
  const refs = source.listEpisodes();
  const unfinished = prepareFolder(from, to);
  const result: LeRobotExportResult = { finished: false, written: 0, skipped: 0, bytes: 0 };
  try {
    const writer = new LeRobotWriter(unfinished, cameras);
    for (const [done, ref] of refs.entries()) {
      // So that a signal is seen between episodes that never wait.
      await new Promise((next) => setImmediate(next));
      if (signal?.aborted) return result;
      const bytes = await orSkipAsync(onBad, async () => writer.add(keySteps(await source.readEpisode(ref))));
      if (bytes === undefined) result.skipped++;
      else {
        result.written++;
        result.bytes += bytes;
      }
      onProgress?.({ done: done + 1, total: refs.length, id: ref.id });
    }
    if (result.written === 0) throw new DataError(from, "has no episode that can be converted");
    writer.finish();
    if (existsSync(to)) rmdirSync(to);
    renameSync(unfinished, to);
    return { ...result, finished: true };
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
}

/** Writes episodes one after the other; the first one decides about the cameras. */
class LeRobotWriter {
  private readonly entries: LeRobotEntry[] = [];
  private readonly tasks = new Map<string, number>();
  private cameras: LeRobotCamera[] | null = null;
  private stats = new Map<string, FeatureStats>();
  private rows = 0;

  constructor(
    private readonly root: string,
    private readonly chosen: readonly string[] | undefined,
  ) {}

  /** Size of the file in bytes. */
  async add(episode: RecordedEpisode): Promise<number> {
    const { ref, variation, instructions, states, keyPoses, recordedFrames, file } = episode;
    const cameras = this.cameras ?? camerasOf(episode.readFrame(0, this.chosen), file);
    const names = cameras.map(({ name }) => name);
    if (!this.chosen && [...episode.cameras].sort().join() !== [...names].sort().join())
      throw new DataError(
        file,
        `has the cameras ${episode.cameras.join(", ")}, expected ${names.join(", ")} as in the first episode; choose cameras that all episodes have`,
      );
    const stats = new Map(
      Object.entries(featuresOf(cameras)).map(([name, feature]) => [name, new FeatureStats(feature)]),
    );
    const place: Placement = {
      episodeIndex: this.entries.length,
      firstIndex: this.rows,
      taskIndex: this.tasks.get(instructions.texts[0]) ?? this.tasks.size,
    };
    const bytes = encodeLeRobotEpisode(episode, cameras, place, stats);
    const entry: LeRobotEntry = {
      task: ref.task,
      variation,
      index: ref.index,
      id: ref.id,
      instructions: { texts: instructions.texts, source: instructions.source },
      frames: states.length,
      keyPoses: keyPoses.length,
      recordedFrames: recordedFrames && [...recordedFrames],
    };
    await this.write(ref, entry, cameras, place, bytes);
    this.cameras = cameras;
    this.entries.push(entry);
    this.rows += states.length;
    for (const text of instructions.texts) if (!this.tasks.has(text)) this.tasks.set(text, this.tasks.size);
    for (const [name, ofEpisode] of stats) {
      const whole = this.stats.get(name);
      if (whole) whole.merge(ofEpisode);
      else this.stats.set(name, ofEpisode);
    }
    return bytes.length;
  }

  finish(): void {
    const { root, cameras, entries, tasks, stats } = this;
    writeLeRobotMeta(root, { cameras: cameras!, entries, tasks: [...tasks.keys()], stats });
  }

  // What is read back encodes to the same bytes, or the file does not stay.
  private async write(
    ref: EpisodeRef,
    entry: LeRobotEntry,
    cameras: readonly LeRobotCamera[],
    place: Placement,
    bytes: Buffer,
  ): Promise<void> {
    const file = join(this.root, chunkFile("data", placeOf(place.episodeIndex)));
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
    const back = await openLeRobotEpisode({ ...ref, location: file }, entry, cameras, place.episodeIndex);
    if (encodeLeRobotEpisode(back, cameras, place).equals(bytes)) return;
    rmSync(file);
    throw new DataError(file, "does not read back as it was written");
  }
}

function prepareFolder(from: string, to: string): string {
  const origin = realpathSync(from);
  if (existsSync(to) && readdirSync(to).length > 0) throw new DataError(to, "is not empty");
  if (`${resolve(to)}/`.startsWith(`${origin}/`)) throw new DataError(to, `lies within ${origin}, which is converted`);
  const unfinished = `${resolve(to)}.partial`;
  if (existsSync(unfinished)) throw new DataError(unfinished, "is left from an interrupted conversion; remove it");
  mkdirSync(unfinished, { recursive: true });
  return unfinished;
}
