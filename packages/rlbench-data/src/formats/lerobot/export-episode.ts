import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { EpisodeRef, EpisodeSource, RecordedEpisode } from "../../episode-source.js";
import { DataError, orSkipAsync } from "../../errors.js";
import { keySteps } from "../../key-steps.js";
import { openLeRobotEpisode } from "./decode.js";
import { encodeLeRobotEpisode, type Placement } from "./encode.js";
import { camerasOf, featuresOf, type LeRobotCamera } from "./features.js";
import type { LeRobotEntry } from "./index-file.js";
import { chunkFile, placeOf } from "./source.js";
import { type FeatureSums, FeatureStats } from "./stats.js";

/** The folder that is exported, and the one that is written. */
export interface ExportFolders {
  from: string;
  to: string;
}

/** What an episode's place in an export depends on; known before any image is read. */
export interface EpisodeOutline {
  entry: LeRobotEntry;
  cameras: readonly string[];
  /** For error messages. */
  file: string;
}

/** How an episode is written. */
export interface EpisodePlan {
  entry: LeRobotEntry;
  cameras: readonly LeRobotCamera[];
  place: Placement;
}

/** An episode in its place. */
export interface WrittenEpisode {
  /** An interrupted export had written it. */
  kept: boolean;
  bytes: number;
  stats: Record<string, FeatureSums>;
}

/** An episode for a thread to outline or, with a plan, to write; plain data. */
export interface ExportJob extends EpisodeRef {
  plan: EpisodePlan | null;
}

/** What a thread makes of an {@link ExportJob}. */
export type ExportOutcome = EpisodeOutline | WrittenEpisode;

/** @throws DataError or whatever reading the episode throws */
export async function outlineEpisode(source: EpisodeSource, ref: EpisodeRef): Promise<EpisodeOutline> {
  const { variation, instructions, states, keyPoses, recordedFrames, cameras, file } = await read(source, ref);
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
  return { entry, cameras, file };
}

/**
 * The cameras of an episode as LeRobot can have them.
 *
 * @param chosen names; default: all
 * @throws DataError as `camerasOf` does, or whatever reading the episode throws
 */
export async function camerasOfEpisode(
  source: EpisodeSource,
  ref: EpisodeRef,
  chosen: readonly string[] | undefined,
): Promise<LeRobotCamera[]> {
  const episode = await read(source, ref);
  return camerasOf(episode.readFrame(0, chosen), episode.file);
}

/**
 * Writes the key steps of an episode in its place, unless an interrupted export has; either way they are read back: what
 * is read encodes to the same bytes, or the file does not stay.
 *
 * @throws DataError when it does not read back, or whatever reading the episode throws
 */
export async function exportEpisode(
  source: EpisodeSource,
  ref: EpisodeRef,
  to: string,
  plan: EpisodePlan,
): Promise<WrittenEpisode> {
  const file = join(to, chunkFile("data", placeOf(plan.place.episodeIndex)));
  const ignore = (): void => undefined;
  const kept = existsSync(file) && (await orSkipAsync(ignore, () => readBack(ref, file, plan)));
  if (kept) return { ...kept, kept: true };
  const bytes = encodeLeRobotEpisode(await read(source, ref), plan.cameras, plan.place);
  mkdirSync(dirname(file), { recursive: true });
  const unfinished = `${file}.partial`;
  try {
    writeFileSync(unfinished, bytes);
    const written = await readBack(ref, unfinished, plan);
    renameSync(unfinished, file);
    return { ...written, kept: false };
  } finally {
    rmSync(unfinished, { force: true });
  }
}

async function readBack(
  ref: EpisodeRef,
  file: string,
  { entry, cameras, place }: EpisodePlan,
): Promise<Omit<WrittenEpisode, "kept">> {
  const stats = new Map(
    Object.entries(featuresOf(cameras)).map(([name, feature]) => [name, new FeatureStats(feature)]),
  );
  const back = await openLeRobotEpisode({ ...ref, location: file }, entry, cameras, place.episodeIndex);
  const bytes = encodeLeRobotEpisode(back, cameras, place, stats);
  if (!readFileSync(file).equals(bytes)) throw new DataError(file, "does not read back as it was written");
  return { bytes: bytes.length, stats: Object.fromEntries([...stats].map(([name, { sums }]) => [name, sums])) };
}

const read = async (source: EpisodeSource, ref: EpisodeRef): Promise<RecordedEpisode> =>
  keySteps(await source.readEpisode(ref));
