import { readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { readTorchCheckpoint } from "@md/nn";
import {
  DataError,
  type EpisodeFormat,
  type EpisodeSource,
  type GripperState,
  loadInstructionEmbeddings,
  openDataset,
  type RecordedEpisode,
} from "@md/rlbench-data";
import { compareNumbers, reshape, scope } from "@md/tensor";
import { compare, FORWARD } from "./compare.js";
import { array, type GoldenFile } from "./golden-file.js";
import { emptyReport, type GoldenReport, runCase } from "./report.js";

const CHECKPOINT = "ckpt.";
const KEY_STEPS = /^(episode\d+)\.(.+)$/;
const PACKAGE = /^dat\.(episode\d+)\.(.+)$/;
const INSTRUCTION = /^instr\.(.+)$/s;

/** Whether the file holds what readers must return for the files beside it. */
export const isFormats = (golden: GoldenFile): boolean =>
  [...golden.arrays.keys()].some(
    (name) => name.startsWith(CHECKPOINT) || [KEY_STEPS, PACKAGE, INSTRUCTION].some((form) => form.test(name)),
  );

/**
 * Holds what the readers return for the files beside a golden file against its tensors: `ckpt.*` each
 * `checkpoint_*.pt`, `episodeN.*` the key steps in LMDB, `dat.episodeN.*` the packaged episodes, `instr.*` the
 * embeddings in `.npy`.
 */
export async function checkFormats(golden: GoldenFile, path: string): Promise<GoldenReport> {
  const report = emptyReport();
  const folder = dirname(path);
  checkCheckpoints(golden, folder, report);
  await checkEpisodes(golden, folder, "3d-lotus", KEY_STEPS, keyStepField, report);
  await checkEpisodes(golden, folder, "3d-diffuser-actor", PACKAGE, packageField, report);
  checkInstructions(golden, folder, report);
  return report;
}

function checkCheckpoints(golden: GoldenFile, folder: string, report: GoldenReport): void {
  const names = [...golden.arrays.keys()];
  const expected = names.filter((name) => name.startsWith(CHECKPOINT)).map((name) => name.slice(CHECKPOINT.length));
  const checkpoints = readdirSync(folder).filter((name) => /^checkpoint_.*\.pth?$/.test(name));
  if (expected.length > 0 && checkpoints.length === 0) {
    runCase(report, CHECKPOINT, () => {
      throw new Error("no checkpoint_*.pt lies beside the file");
    });
  }
  for (const name of checkpoints) {
    runCase(report, name, () => scope(() => checkCheckpoint(golden, join(folder, name), expected)));
  }
}

function checkCheckpoint(golden: GoldenFile, path: string, expected: readonly string[]): void {
  const found = readTorchCheckpoint(path);
  const names = [[...found.keys()], expected].map((list) => [...list].sort().join(", "));
  if (names[0] !== names[1]) throw new Error(`tensors are ${names[0]}, expected ${names[1]}`);
  for (const [name, x] of found) {
    // What wrote the golden file has no tensors of rank 0: it has them as [1], PyTorch itself as [].
    compare(golden, `${CHECKPOINT}${name}`, x.shape.length === 0 ? reshape(x, [1]) : x, FORWARD);
  }
}

/** A field of an episode as numbers of a shape; undefined for a field that is not known. */
type ReadField = (episode: RecordedEpisode, field: string) => Numbers | undefined;
interface Numbers {
  shape: readonly number[];
  data: ArrayLike<number>;
}

async function checkEpisodes(
  golden: GoldenFile,
  folder: string,
  format: EpisodeFormat,
  form: RegExp,
  read: ReadField,
  report: GoldenReport,
): Promise<void> {
  const fields = [...golden.arrays.keys()].flatMap((name) => {
    const [, episode, field] = form.exec(name) ?? [];
    return episode === undefined ? [] : [{ name, episode, field }];
  });
  if (fields.length === 0) return;
  const sources = findSources(folder, format);
  const refs = sources.flatMap((source) => source.listEpisodes().map((ref) => ({ source, ref })));
  for (const name of new Set(fields.map(({ episode }) => episode))) {
    const found = refs.filter(({ ref }) => `episode${/(\d+)$/.exec(ref.id)?.[1]}` === name);
    const episodes = await Promise.all(
      found.map(({ source, ref }) => source.readEpisode(ref).catch((error: Error) => error)),
    );
    const ofEpisode = fields.filter(({ episode }) => episode === name);
    const checks = episodes.map((episode) =>
      ofEpisode.map(({ name: tensor, field }) => problemOf(() => checkField(golden, tensor, episode, read, field))),
    );
    // The file names no tasks: of several episodes of a number, the one that differs least is meant.
    const differing = (problems: readonly (Error | null)[]): number => problems.filter(Boolean).length;
    const [least] = checks.sort((a, b) => differing(a) - differing(b));
    for (const [i, { name: tensor }] of ofEpisode.entries())
      runCase(report, tensor, () => {
        if (!least) throw new Error("no episode beside the file has this number");
        if (least[i]) throw least[i];
      });
  }
}

function problemOf(check: () => void): Error | null {
  try {
    check();
    return null;
  } catch (error) {
    return error as Error;
  }
}

function checkField(
  golden: GoldenFile,
  tensor: string,
  episode: RecordedEpisode | Error,
  read: ReadField,
  field: string,
): void {
  if (episode instanceof Error) throw episode;
  const numbers = read(episode, field);
  if (!numbers) throw new Error("is a field that this check does not know");
  compareExactly(golden, tensor, numbers);
}

/** Those that lie beside the file; other folders may too. */
function findSources(folder: string, format: EpisodeFormat): EpisodeSource[] {
  const folders = readdirSync(folder)
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isDirectory());
  return folders.flatMap((path) => {
    try {
      return [openDataset(path)].filter((source) => source.format === format);
    } catch (error) {
      if (error instanceof DataError) return [];
      throw error;
    }
  });
}

function keyStepField(episode: RecordedEpisode, field: string): Numbers | undefined {
  const [, kind, step] = /^(xyz|rgb)(\d+)$/.exec(field) ?? [];
  if (kind !== undefined) {
    const observation = episode.readFrame(Number(step));
    if (observation.kind !== "cloud") return undefined;
    const data = kind === "xyz" ? observation.positions : observation.colors;
    return { shape: [data.length / 3, 3], data };
  }
  if (field === "action") return rows(episode.states.map(stateRow));
  if (field === "key_frameids" && episode.recordedFrames)
    return { shape: [episode.recordedFrames.length], data: episode.recordedFrames };
  const [, link] = /^(\w+)_bbox$/.exec(field) ?? [];
  if (link === undefined) return undefined;
  const boxes = episode.states.flatMap((_, frame) => {
    const observation = episode.readFrame(frame);
    const found = observation.kind === "cloud" && observation.links?.find(({ name }) => name.includes(`_${link}_`));
    return found ? [found.box] : [];
  });
  return rows(boxes);
}

function packageField(episode: RecordedEpisode, field: string): Numbers | undefined {
  if (field === "obs") {
    const images = episode.states.flatMap((_, frame) => {
      const observation = episode.readFrame(frame);
      return observation.kind === "position images" ? observation.cameras : [];
    });
    const [{ width, height }] = images;
    const shape = [episode.states.length, episode.cameras.length, 2, 3, height, width];
    return { shape, data: images.flatMap(({ rgb, positions }) => [...rgb, ...positions]) };
  }
  const [, kind, step] = /^(action|gripper|trajectory)(\d+)$/.exec(field) ?? [];
  if (kind === "action") return rows([stateRow(episode.keyPoses[Number(step)])]);
  if (kind === "gripper") return rows([stateRow(episode.states[Number(step)])]);
  const trajectory = kind === "trajectory" ? episode.trajectories?.[Number(step)] : undefined;
  return trajectory && { shape: [trajectory.length / 8, 8], data: trajectory };
}

const stateRow = ({ position, quaternion, open }: GripperState): number[] => [...position, ...quaternion, open];
const rows = (all: readonly ArrayLike<number>[]): Numbers => ({
  shape: [all.length, all[0]?.length ?? 0],
  data: all.flatMap((row) => Array.from(row)),
});

function checkInstructions(golden: GoldenFile, folder: string, report: GoldenReport): void {
  const names = [...golden.arrays.keys()].filter((name) => INSTRUCTION.test(name));
  if (names.length === 0) return;
  const files = readdirSync(folder).filter((name) => name.endsWith(".npy"));
  for (const name of names) {
    runCase(report, name, () => {
      const encoders = files.map((file) => loadInstructionEmbeddings(join(folder, file)));
      if (encoders.length !== 1) throw new Error(`${encoders.length} .npy files lie beside the file, expected one`);
      const [{ dim, ...encoder }] = encoders;
      const { tokens, data } = encoder.encode(INSTRUCTION.exec(name)![1]);
      compareExactly(golden, name, { shape: [tokens, dim], data });
    });
  }
}

function compareExactly(golden: GoldenFile, name: string, { shape, data }: Numbers): void {
  const expected = array(golden, name);
  if (String(shape) !== String(expected.shape)) throw new Error(`shape is [${shape}], expected [${expected.shape}]`);
  compareNumbers(name, Array.from(data), Array.from<number | bigint, number>(expected.data, Number), 0);
}
