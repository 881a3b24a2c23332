import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Picklable, pickle, pyArray, pyFloat, pyInstance } from "@md/pickle";
import { expect, test } from "vitest";
import {
  DataError,
  demonstrationOf,
  openDataset,
  openDemonstration,
  openRLBench,
  SYNTHETIC_TASK,
  writeSyntheticReach,
} from "../src/index.js";
import { writeLotusDataset } from "./support/lotus-dataset.js";
import { writePackages } from "./support/packages.js";
import { temporaryFolder } from "./support/temporary-folder.js";

function synthetic(): { root: string; episodes: string } {
  const root = temporaryFolder();
  writeSyntheticReach({ root, episodes: 2, seed: 1 });
  return { root, episodes: join(root, SYNTHETIC_TASK, "all_variations", "episodes") };
}

test("raw demonstrations open as a source of episodes", async () => {
  const { root } = synthetic();
  const source = openDataset(root);
  expect(source).toMatchObject({ format: "rlbench", root, tasks: [SYNTHETIC_TASK] });
  const [ref] = source.listEpisodes();
  const episode = await source.readEpisode(JSON.parse(JSON.stringify(ref)));
  const demonstration = openDemonstration(openRLBench(root).episodes(SYNTHETIC_TASK)[0]);
  const same = demonstrationOf(episode);
  expect(same).toMatchObject({
    id: demonstration.id,
    states: demonstration.states,
    keyFrames: demonstration.keyFrames,
  });
  expect(same.observe(0)).toEqual(demonstration.observe(0));
  const [camera] = episode.cameras;
  const one = episode.readFrame(0, [camera]);
  expect(one.kind === "depth images" && one.cameras.map(({ name }) => name)).toEqual([camera]);
  expect(() => source.listEpisodes("no_task")).toThrow(/has no task "no_task"/);
});

test("a folder of two formats is refused, each of them is not", async () => {
  const root = temporaryFolder();
  const [lotus, packages] = [join(root, "lotus"), join(root, "packages")];
  writeLotusDataset({ root: lotus, tasks: 1, episodes: 1, steps: 3, points: 50 });
  await writePackages(packages, 1);
  expect(() => openDataset(root)).toThrow(DataError);
  expect(() => openDataset(root)).toThrow(/holds 3D-LOTUS key steps \(.*lotus.*\) and 3D Diffuser Actor packages \(/);
  expect([lotus, packages].map((folder) => openDataset(folder).format)).toEqual(["3d-lotus", "3d-diffuser-actor"]);
});

test("a folder without episodes is refused", () => {
  const root = temporaryFolder();
  expect(() => openDataset(root)).toThrow(/holds no episodes: neither RLBench/);
  expect(() => openDataset(join(root, "none"))).toThrow(/none\] is no folder/);
  writeFileSync(join(root, "file"), "");
  expect(() => openDataset(join(root, "file"))).toThrow(DataError);
});

test("an episode that is there twice is refused, or left out and listed", () => {
  const { root, episodes } = synthetic();
  cpSync(join(episodes, "episode1"), join(episodes, "episode01"), { recursive: true });
  expect(() => openDataset(root)).toThrow(/episode1\] is episode 1, which episode01 is already/);
  const bad: Error[] = [];
  expect(openDataset(root, { onBad: (error) => bad.push(error) }).listEpisodes()).toHaveLength(2);
  expect(bad).toHaveLength(1);
});

const array = (...values: number[]): Picklable => pyArray(Float64Array.from(values), [values.length]);

function observation(misc: Record<string, Picklable>, pose = [0, 0, 1, 0, 0, 0, 1]): Picklable {
  return pyInstance("rlbench.backend.observation", "Observation", {
    gripper_pose: array(...pose),
    gripper_open: pyFloat(1),
    joint_velocities: array(0, 0, 0, 0, 0, 0, 0),
    misc: new Map(Object.entries(misc)),
  });
}

const calibration: Record<string, Picklable> = {
  front_camera_intrinsics: pyArray(Float64Array.of(-175, 0, 64, 0, -175, 64, 0, 0, 1), [3, 3]),
  front_camera_near: pyFloat(0.01),
  front_camera_far: pyFloat(4.5),
};

test.for<[string, Picklable[], RegExp]>([
  ["one frame", [observation({})], /low_dim_obs\.pkl\] has one frame, expected at least 2/],
  [
    "a camera without extrinsics",
    [observation(calibration), observation(calibration)],
    /frame 0: misc\.front_camera_extrinsics is missing/,
  ],
  [
    "a NaN pose",
    [observation({}), observation({}, [NaN, 0, 1, 0, 0, 0, 1])],
    /frame 1: gripper_pose has elements that are not finite/,
  ],
])("an episode with %s is refused by file and field", async ([, observations, message]) => {
  const { root, episodes } = synthetic();
  const demo = pyInstance("rlbench.demo", "Demo", { _observations: observations });
  writeFileSync(join(episodes, "episode0", "low_dim_obs.pkl"), pickle(demo));
  const source = openDataset(root);
  const [broken, whole] = source.listEpisodes();
  await expect(source.readEpisode(broken)).rejects.toThrow(message);
  await expect(source.readEpisode(whole)).resolves.toMatchObject({ ref: whole });
});

test("images without a calibration are an error of the camera, not a camera less", async () => {
  const { root, episodes } = synthetic();
  const folder = join(episodes, "episode0");
  cpSync(join(folder, "front_rgb"), join(folder, "extra_rgb"), { recursive: true });
  const source = openDataset(root);
  const episode = await source.readEpisode(source.listEpisodes()[0]);
  expect(episode.cameras).toContain("extra");
  expect(() => episode.readFrame(0, ["extra"])).toThrow(/no calibration of camera "extra"/);
});

test("variations come from the folder or from the episode", async () => {
  const { root, episodes } = synthetic();
  const number = join(episodes, "episode0", "variation_number.pkl");
  const read = async (): Promise<number | null> => {
    const source = openDataset(root);
    return (await source.readEpisode(source.listEpisodes()[0])).variation;
  };
  rmSync(number, { force: true });
  expect(await read()).toBeNull();
  writeFileSync(number, pickle(5));
  expect(await read()).toBe(5);
  writeFileSync(number, pickle("five"));
  await expect(read()).rejects.toThrow(/variation_number\.pkl\] holds a string/);
  expect(readFileSync(number).length).toBeGreaterThan(0);
  mkdirSync(join(root, "other", "variation3", "episodes"), { recursive: true });
  rmSync(number);
  renameSync(join(episodes, "episode0"), join(root, "other", "variation3", "episodes", "episode0"));
  const source = openDataset(root);
  expect((await source.readEpisode(source.listEpisodes("other")[0])).variation).toBe(3);
});
