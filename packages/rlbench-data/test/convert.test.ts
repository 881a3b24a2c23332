import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  convertDataset,
  DataError,
  describeDataset,
  keySteps,
  type Observation,
  openDataset,
  type RecordedEpisode,
  writeSyntheticReach,
} from "../src/index.js";
import { readSafetensors } from "../src/safetensors.js";
import { writeLotusDataset } from "./support/lotus-dataset.js";
import { writePackages } from "./support/packages.js";
import { missing, rlbenchFolder } from "./support/paths.js";
import { temporaryFolder } from "./support/temporary-folder.js";

const sources: Record<string, (root: string) => Promise<string>> = {
  rlbench: async (root) => {
    writeSyntheticReach({ root, episodes: 2, seed: 3 });
    return root;
  },
  "3d-lotus": async (root) => {
    writeLotusDataset({ root, tasks: 2, episodes: 2, steps: 4, points: 700 });
    return root;
  },
  "3d-diffuser-actor": (root) => writePackages(root, 2),
};

/** All that an episode tells, frames included. */
function contentOf(episode: RecordedEpisode): object {
  const { variation, instructions, states, keyFrames, keyPoses, recordedFrames, trajectories, cameras } = episode;
  const frames: Observation[] = states.map((_, frame) => episode.readFrame(frame));
  return { variation, instructions, states, keyFrames, keyPoses, recordedFrames, trajectories, cameras, frames };
}

test.for(Object.keys(sources))("%s converts without loss, and the result converts again", async (format) => {
  const folder = temporaryFolder();
  const from = await sources[format](join(folder, "from"));
  const [to, again] = [join(folder, "to"), join(folder, "again")];
  const source = openDataset(from);
  expect(source.format).toBe(format);
  const total = source.listEpisodes().length;
  const progress: number[] = [];
  const result = await convertDataset({ from, to, onProgress: ({ done }) => progress.push(done) });
  expect(result).toMatchObject({ finished: true, written: total, kept: 0, skipped: 0 });
  expect(progress).toEqual(Array.from({ length: total }, (_, i) => i + 1));
  const converted = openDataset(to);
  expect(converted.format).toBe("compact");
  expect(converted.tasks).toEqual(source.tasks);
  for (const [i, ref] of converted.listEpisodes().entries()) {
    const original = await source.readEpisode(source.listEpisodes()[i]);
    expect(ref).toMatchObject({ task: original.ref.task, index: original.ref.index, id: original.ref.id });
    expect(contentOf(await converted.readEpisode(ref))).toEqual(contentOf(keySteps(original)));
  }
  await convertDataset({ from: to, to: again });
  for (const { id } of converted.listEpisodes())
    expect(readFileSync(join(again, `${id}.safetensors`)).equals(readFileSync(join(to, `${id}.safetensors`)))).toBe(
      true,
    );
  const [before, after] = [await describeDataset(source), await describeDataset(converted)];
  expect({ ...after, format, root: from, bytes: 0, tasks: [] }).toEqual({ ...before, bytes: 0, tasks: [] });
});

test("an interrupted conversion goes on, and leaves no index before its end", async () => {
  const folder = temporaryFolder();
  const [from, to] = [await writePackages(join(folder, "from"), 3), join(folder, "to")];
  const controller = new AbortController();
  const stopped = await convertDataset({ from, to, signal: controller.signal, onProgress: () => controller.abort() });
  expect(stopped).toMatchObject({ finished: false, written: 1 });
  expect(() => openDataset(to)).toThrow(/holds no episodes/);
  const other = await writePackages(join(folder, "other"), 1);
  await expect(convertDataset({ from: other, to })).rejects.toThrow(/is of a conversion of .*from, not of .*other/);
  const whole = readFileSync(join(to, "push+1/ep0.safetensors"));
  writeFileSync(join(to, "push+1/ep0.safetensors"), whole.subarray(0, 500));
  expect(await convertDataset({ from, to })).toMatchObject({ finished: true, written: 3, kept: 0 });
  expect(readFileSync(join(to, "push+1/ep0.safetensors")).equals(whole)).toBe(true);
  expect(readdirSync(to).sort()).toEqual(["episodes.json", "push+1"]);
  await expect(convertDataset({ from, to })).rejects.toThrow(/holds a data set already/);
  rmSync(join(to, "episodes.json"));
  await expect(convertDataset({ from, to })).rejects.toThrow(/is not empty, and of no interrupted conversion/);
  await expect(convertDataset({ from, to: join(from, "inside") })).rejects.toThrow(/lies within/);
});

test("what is kept is not written again", async () => {
  const folder = temporaryFolder();
  const [from, to] = [await writePackages(join(folder, "from"), 3), join(folder, "to")];
  const controller = new AbortController();
  await convertDataset({ from, to, signal: controller.signal, onProgress: () => controller.abort() });
  expect(await convertDataset({ from, to })).toMatchObject({ finished: true, written: 2, kept: 1 });
});

test("a bad episode ends a conversion by name, or is skipped and listed", async () => {
  const folder = temporaryFolder();
  const [from, to] = [await writePackages(join(folder, "from"), 3), join(folder, "to")];
  writeFileSync(join(from, "push+1/ep1.dat"), Buffer.alloc(100));
  await expect(convertDataset({ from, to })).rejects.toThrow(/ep1\.dat\] blosc version is 0/);
  expect(existsSync(join(to, "episodes.json"))).toBe(false);
  const bad: string[] = [];
  const result = await convertDataset({ from, to, onBad: ({ message }) => bad.push(message) });
  expect(result).toMatchObject({ finished: true, written: 1, kept: 1, skipped: 1 });
  expect(bad).toHaveLength(1);
  expect(
    openDataset(to)
      .listEpisodes()
      .map(({ id }) => id),
  ).toEqual(["push+1/ep0", "push+1/ep2"]);
  await expect(describeDataset(openDataset(from))).rejects.toThrow(/ep1\.dat/);
  expect(await describeDataset(openDataset(from), () => undefined)).toMatchObject({ episodes: 2, keyPoses: 6 });
  for (const name of ["ep0", "ep2"]) rmSync(join(from, `push+1/${name}.dat`));
  await expect(convertDataset({ from, to: join(folder, "none"), onBad: () => undefined })).rejects.toThrow(
    /has no episode that can be converted/,
  );
});

test("worker threads write what one thread writes, and find the same errors", async () => {
  const folder = temporaryFolder();
  const from = await writePackages(join(folder, "from"), 5);
  const [one, three] = [join(folder, "one"), join(folder, "three")];
  await convertDataset({ from, to: one, workers: 0 });
  expect(await convertDataset({ from, to: three, workers: 3 })).toMatchObject({ finished: true, written: 5 });
  for (const name of ["episodes.json", ...[0, 1, 2, 3, 4].map((i) => `push+1/ep${i}.safetensors`)])
    expect(readFileSync(join(three, name)).equals(readFileSync(join(one, name)))).toBe(true);
  writeFileSync(join(from, "push+1/ep1.dat"), Buffer.alloc(100));
  const to = join(folder, "bad");
  await expect(convertDataset({ from, to, workers: 2 })).rejects.toThrow(/ep1\.dat\] blosc version is 0/);
  expect(readdirSync(join(to, "push+1")).filter((name) => name.endsWith(".partial"))).toEqual([]);
  const bad: string[] = [];
  const onBad = ({ message }: Error): void => void bad.push(message);
  expect(await convertDataset({ from, to, workers: 2, onBad })).toMatchObject({ finished: true, skipped: 1 });
  expect(bad).toHaveLength(1);
}, 60_000);

test("a compact data set that is broken is refused by file and field", async () => {
  const folder = temporaryFolder();
  const to = join(folder, "to");
  await convertDataset({ from: await writePackages(join(folder, "from"), 2), to });
  const index = join(to, "episodes.json");
  const text = readFileSync(index, "utf8");
  const refuse = (changed: string, message: RegExp): void => {
    writeFileSync(index, changed);
    expect(() => openDataset(to)).toThrow(message);
    expect(() => openDataset(to)).toThrow(DataError);
  };
  refuse("{", /episodes\.json\] is no JSON/);
  refuse(text.replace('"version":1', '"version":2'), /is minidiff-episodes 2, expected minidiff-episodes 1/);
  refuse(text.replace("push+1/ep0", "../ep0"), /episodes\[0\]\.id is "\.\.\/ep0", expected a path below/);
  refuse(text.replace("ep0", "ep1"), /push\+1\/ep1 is there twice/);
  refuse(text.replace('"index":0', '"index":-1'), /episodes\[0\] has no valid/);
  writeFileSync(index, text);
  const source = openDataset(to);
  const [first, second] = source.listEpisodes();
  const whole = readFileSync(first.location);
  writeFileSync(first.location, whole.subarray(0, whole.length - 1));
  await expect(source.readEpisode(first)).rejects.toThrow(
    /ep0\.safetensors\] tensor ".*" does not fit|does not fit bytes/,
  );
  writeFileSync(first.location, readFileSync(second.location));
  await expect(source.readEpisode(first)).rejects.toThrow(/id is push\+1\/ep1, expected push\+1\/ep0/);
  await expect(source.readEpisode({ ...first, location: join(to, "none") })).rejects.toBeInstanceOf(DataError);
});

test("files of the compact format open as safetensors", async () => {
  const folder = temporaryFolder();
  await convertDataset({ from: await sources["3d-lotus"](join(folder, "from")), to: join(folder, "to") });
  const { metadata, tensors } = readSafetensors(join(folder, "to", "task_0+0", "episode1.safetensors"));
  expect(metadata).toMatchObject({
    format: "minidiff-episode",
    task: "task_0",
    id: "task_0+0/episode1",
    kind: "cloud",
  });
  expect(tensors.get("frame2.positions")).toMatchObject({ dtype: "F32", shape: [700, 3] });
  expect(tensors.get("key_poses")).toMatchObject({ dtype: "F64", shape: [3, 8] });
});

test("real demonstrations tell their variations", async (ctx) => {
  const reason = missing(rlbenchFolder);
  if (reason) ctx.skip(reason);
  const info = await describeDataset(openDataset(rlbenchFolder));
  expect(info.tasks.find(({ task }) => task === "open_drawer")!.variations.length).toBeGreaterThan(1);
});
