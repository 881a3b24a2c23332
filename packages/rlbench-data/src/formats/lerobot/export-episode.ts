import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { EpisodeRef, EpisodeSource, RecordedEpisode } from "../../episode-source.js";
import { DataError } from "../../errors.js";
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

/** An episode that was written. */
export interface WrittenEpisode {
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
 * Writes the key steps of an episode in its place, and reads them back: what is read encodes to the same bytes, or the
 * file does not stay.
 *
 * @throws DataError when it does not read back, or whatever reading the episode throws
 */
export async function exportEpisode(
  source: EpisodeSource,
  ref: EpisodeRef,
  to: string,
  { entry, cameras, place }: EpisodePlan,
): Promise<WrittenEpisode> {
  const features = Object.entries(featuresOf(cameras));
  const stats = new Map(features.map(([name, feature]) => [name, new FeatureStats(feature)]));
  const bytes = encodeLeRobotEpisode(await read(source, ref), cameras, place, stats);
  const file = join(to, chunkFile("data", placeOf(place.episodeIndex)));
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, bytes);
  const back = await openLeRobotEpisode({ ...ref, location: file }, entry, cameras, place.episodeIndex);
  if (!encodeLeRobotEpisode(back, cameras, place).equals(bytes)) {
    rmSync(file);
    throw new DataError(file, "does not read back as it was written");
  }
  const sums = [...stats].map(([name, { sums }]) => [name, sums] as const);
  return { bytes: bytes.length, stats: Object.fromEntries(sums) };
}

const read = async (source: EpisodeSource, ref: EpisodeRef): Promise<RecordedEpisode> =>
  keySteps(await source.readEpisode(ref));
