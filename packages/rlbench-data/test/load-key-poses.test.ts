import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  DataError,
  demonstrationOf,
  type EpisodeRef,
  type InstructionEncoder,
  loadKeyPoses,
  openDataset,
  prepareKeyPoses,
  writeSyntheticReach,
} from "../src/index.js";
import { EpisodeWorker } from "../src/threads/episode-worker.js";
import { writeLotusDataset } from "./support/lotus-dataset.js";
import { temporaryFolder } from "./support/temporary-folder.js";

/** Episodes of two formats in turn, of which the second and the last but one are bad, and those that are not. */
function makeEpisodes(): { episodes: EpisodeRef[]; good: EpisodeRef[] } {
  const [raw, lotus] = [temporaryFolder(), temporaryFolder()];
  writeSyntheticReach({ root: raw, episodes: 3, seed: 5 });
  writeLotusDataset({ root: lotus, tasks: 1, episodes: 3, steps: 3, points: 200 });
  const [a, b] = [raw, lotus].map((root) => openDataset(root).listEpisodes());
  rmSync(join(a[2].location, "front_rgb", "0.png"));
  const absent = { ...b[0], location: `${b[0].location}9`, id: "absent" };
  return { episodes: [a[0], absent, b[0], a[1], b[1], a[2], b[2]], good: [a[0], b[0], a[1], b[1], b[2]] };
}

test("is what prepareKeyPoses makes of the episodes, whatever the number of threads", async () => {
  const { good } = makeEpisodes();
  const options = { removeRobot: "nothing", everyFrame: true, stride: 2, voxelSize: 0.02 } as const;
  const demonstrations = good.map(async (ref) => demonstrationOf(await openDataset(ref.root).readEpisode(ref)));
  const expected = prepareKeyPoses(await Promise.all(demonstrations), options);
  expect(new Set(expected.samples.map(({ episode }) => episode)).size).toBe(5);
  for (const workers of [0, 1, 3]) {
    const loaded = await loadKeyPoses(good, { ...options, workers });
    expect(loaded).toEqual(expected);
    for (const { cloud } of loaded.samples) expect(cloud.positions.buffer).toBeInstanceOf(SharedArrayBuffer);
  }
}, 120_000);

test("of bad episodes the first is thrown, or all are listed in order", async () => {
  const { episodes, good } = makeEpisodes();
  for (const workers of [0, 1, 3]) {
    await expect(loadKeyPoses(episodes, { workers })).rejects.toThrow(/data\.mdb\] has no key "episode09"/);
    const bad: Error[] = [];
    const { samples } = await loadKeyPoses(episodes, { workers, onBad: (error) => bad.push(error) });
    expect(samples).toEqual((await loadKeyPoses(good, { workers: 0 })).samples);
    expect(bad.map(({ message }) => message)).toEqual([
      expect.stringMatching(/data\.mdb\] has no key "episode09"/),
      expect.stringMatching(/front_rgb.0\.png\] cannot be read/),
    ]);
    for (const error of bad) expect(error).toBeInstanceOf(DataError);
  }
}, 120_000);

test("an instruction that cannot be embedded is bad data of its episode", async () => {
  const { good } = makeEpisodes();
  const encoder: InstructionEncoder = {
    source: "test",
    dim: 1,
    encode(text) {
      if (text.includes("task")) throw new DataError("test", `has no embedding of the instruction "${text}"`);
      return { tokens: 1, data: new Float32Array(1) };
    },
  };
  await expect(loadKeyPoses(good, { encoder, workers: 1 })).rejects.toThrow(/no embedding of the instruction "do/);
  const bad: Error[] = [];
  const { samples } = await loadKeyPoses(good, { encoder, workers: 0, onBad: (error) => bad.push(error) });
  expect(bad).toHaveLength(3);
  expect(new Set(samples.map(({ task }) => task)).size).toBe(1);
});

test("options that make no sense are no fault of the episodes", async () => {
  const { episodes } = makeEpisodes();
  const onBad = (): void => expect.fail("called");
  await expect(loadKeyPoses(episodes, { everyFrame: true, stride: 0, onBad })).rejects.toThrow(/stride is 0/);
  await expect(loadKeyPoses([])).rejects.toThrow(/there are no demonstrations/);
});

test("a thread that ends is an error that names the episode", async () => {
  const [episode] = makeEpisodes().good;
  const worker = new EpisodeWorker("loader/no-such-worker", {});
  await expect(worker.run(episode)).rejects.toThrow(DataError);
  await expect(worker.run(episode)).rejects.toThrow(/episode0\] its worker thread failed: /);
  await worker.close();
});

test("a thread that ends while it prepares an episode is an error, not a bad episode", async () => {
  const { good } = makeEpisodes();
  const onBad = (): void => expect.fail("called");
  // What no episode can be blamed for ends a worker.
  const options = { bounds: {} as never, workers: 1, onBad };
  await expect(loadKeyPoses(good, options)).rejects.toThrow(DataError);
  await expect(loadKeyPoses(good, options)).rejects.toThrow(/episode0\] its worker thread failed: /);
});
