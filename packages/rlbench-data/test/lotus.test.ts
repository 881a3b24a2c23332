import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  DataError,
  decodeMsgpack,
  demonstrationOf,
  openDataset,
  prepareKeyPoses,
  type RecordedEpisode,
} from "../src/index.js";
import { lotusFields, numpyMap, packMsgpack, writeLotusDataset } from "./support/lotus-dataset.js";
import { writeLmdb } from "./support/lmdb-writer.js";
import { temporaryFolder } from "./support/temporary-folder.js";

const STEPS = 3;
const POINTS = 50;

function writeEpisode(root: string, folder: string, key: string, value: Uint8Array): void {
  mkdirSync(join(root, folder), { recursive: true });
  writeLmdb(join(root, folder, "data.mdb"), [[key, value]]);
}

function readBack(changes: Record<string, unknown>): Promise<RecordedEpisode> {
  const fields = lotusFields(1, STEPS, POINTS);
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) fields.delete(name);
    else fields.set(name, value);
  }
  const root = temporaryFolder();
  writeEpisode(root, "put_in_box_peract+4", "episode7", packMsgpack(fields));
  const source = openDataset(root);
  const [ref] = source.listEpisodes();
  expect(ref).toMatchObject({ task: "put_in_box_peract", variation: 4, index: 0, id: "put_in_box_peract+4/episode7" });
  return source.readEpisode(ref);
}

test("key steps are read as they were written", async () => {
  const episode = await readBack({});
  expect(episode.states).toHaveLength(STEPS);
  expect(episode.keyFrames).toEqual([1, 2]);
  expect(episode.keyPoses).toEqual(episode.states.slice(1));
  expect(episode.recordedFrames).toEqual([0, 20, 40]);
  expect(episode.cameras).toEqual([]);
  expect(episode.instructions).toEqual({ texts: ["put in box"], source: "task name" });
  const stored = lotusFields(1, STEPS, POINTS).get("xyz") as Map<Buffer, unknown>[];
  const data = [...stored[2].values()].at(-1) as Buffer;
  const observation = episode.readFrame(2);
  if (observation.kind !== "cloud") throw new Error(observation.kind);
  expect(Buffer.from(observation.positions.buffer).equals(data)).toBe(true);
  expect(observation.colors).toHaveLength(3 * POINTS);
  expect(observation.labels).toHaveLength(POINTS);
  expect(observation.links).toMatchObject([{ name: "Panda_link0_visual" }]);
  expect(() => episode.readFrame(3)).toThrow(/has no frame 3/);
  const { samples } = prepareKeyPoses([demonstrationOf(episode)]);
  expect(samples.map(({ frame, keyPoseIndex }) => [frame, keyPoseIndex])).toEqual([
    [0, 0],
    [1, 1],
  ]);
  const bare = await readBack({ sem: undefined, bbox_info: undefined, key_frameids: undefined });
  expect(bare.recordedFrames).toBeNull();
  expect(bare.readFrame(0)).toMatchObject({ labels: null, links: null });
});

const action = (rows: number, first = 0.1): unknown =>
  numpyMap("<f4", [rows, 8], new Float32Array(8 * rows).fill(first, 0, 1));

test.for<[string, Record<string, unknown>, RegExp]>([
  ["one key step", { action: action(1) }, /action has 1 key steps, expected 2 to/],
  ["a NaN pose", { action: action(STEPS, NaN) }, /action has NaN at element 0/],
  ["action of another width", { action: numpyMap("<f4", [2, 7], new Float32Array(14)) }, /action has shape \[2, 7\]/],
  ["no action", { action: undefined }, /action is missing/],
  ["no clouds", { xyz: undefined }, /xyz is missing or no list/],
  ["a cloud too few", { xyz: [] }, /xyz has 0 key steps, expected 3/],
  ["frame numbers that go back", { key_frameids: [0, 5, 4] }, /key_frameids are not 3 ascending/],
  ["boxes without poses", { pose_info: new Map() }, /pose_info\.Panda_link0_visual_pose is missing/],
  ["a type of objects", { action: numpyMap("|O8", [3, 8], new Float32Array(24)) }, /numpy type \|O8/],
  [
    "fewer bytes than the shape needs",
    { action: numpyMap("<f4", [3, 8], new Float32Array(23)) },
    /92 bytes, expected 96/,
  ],
])("%s", async ([, changes, message]) => {
  await expect(readBack(changes)).rejects.toThrow(message);
  await expect(readBack(changes)).rejects.toThrow(/data\.mdb#episode7\]/);
  await expect(readBack(changes)).rejects.toBeInstanceOf(DataError);
});

test.for<[string, unknown, RegExp]>([
  ["a NaN position", numpyMap("<f4", [1, 3], Float32Array.of(0, NaN, 0)), /xyz\[0\] has NaN at element 1/],
  [
    "positions of another shape",
    numpyMap("<f4", [3], new Float32Array(3)),
    /xyz\[0\] has shape \[3\], expected \[\*, 3\]/,
  ],
  [
    "fewer colours than points",
    numpyMap("<f4", [2, 3], new Float32Array(6)),
    /rgb\[0\] has shape \[50, 3\], expected \[2, 3\]/,
  ],
])("%s is refused when the frame is read", async ([, cloud, message]) => {
  const stored = lotusFields(1, STEPS, POINTS).get("xyz") as unknown[];
  const episode = await readBack({ xyz: [cloud, ...stored.slice(1)] });
  expect(() => episode.readFrame(0)).toThrow(message);
  expect(() => episode.readFrame(1)).not.toThrow();
});

test("msgpack that announces more than it has is refused before anything is allocated", () => {
  const refuse = (bytes: number[], message: RegExp): void =>
    expect(() => decodeMsgpack(Uint8Array.from(bytes), "value")).toThrow(message);
  refuse([0xdd, 0xff, 0xff, 0xff, 0xff], /announces 4294967295 values, 0 bytes are left/);
  refuse([0xc6, 0xff, 0xff, 0xff, 0xff, 1], /needs 4294967295 bytes, 1 are left/);
  refuse([0xdf, 0, 0, 0, 9, 1], /announces 18 values/);
  refuse(Array(40).fill(0x91), /nested deeper than 32/);
  refuse([0xc7, 0, 0x72], /extension/);
  refuse([0xd5, 0x72, 0x40, 0x91], /extension/);
  refuse([0x92, 1], /announces 2 values|truncated/);
  refuse([1, 1], /1 bytes follow/);
  refuse([], /truncated/);
  expect(
    decodeMsgpack(packMsgpack(new Map<unknown, unknown>([["a", [1, -2, 0.5, null, true, "x"]]])), "value"),
  ).toEqual(new Map([["a", [1, -2, 0.5, null, true, "x"]]]));
});

test("instructions come from the lists beside the data", async () => {
  const root = temporaryFolder();
  writeLotusDataset({ root, tasks: 2, episodes: 3, steps: 2, points: 10 });
  const source = openDataset(root);
  expect(source.tasks).toEqual(["task_0", "task_1"]);
  const [episode] = source.listEpisodes("task_1");
  expect((await source.readEpisode(episode)).instructions).toEqual({
    texts: ["do task 1", "please do task 1"],
    source: "taskvars_instructions",
  });
  const lists = join(root, "taskvars_instructions.json");
  writeFileSync(lists, JSON.stringify({ "task_0_peract+0": ["do it"] }));
  const again = openDataset(root);
  const [first, other] = [again.listEpisodes("task_0")[0], again.listEpisodes("task_1")[0]];
  expect((await again.readEpisode(first)).instructions.texts).toEqual(["do it"]);
  await expect(again.readEpisode(other)).rejects.toThrow(/has no instructions of task_1\+0/);
  writeFileSync(lists, JSON.stringify({ "task_0+0": "do it" }));
  expect(() => openDataset(root)).toThrow(/taskvars_instructions\.json\] "task_0\+0" is no task\+variation/);
  writeFileSync(lists, "{");
  expect(() => openDataset(root)).toThrow(/is no JSON/);
});

test("episodes are numbered by variation, duplicates and foreign files are refused or listed", () => {
  const root = temporaryFolder();
  const value = packMsgpack(lotusFields(1, 2, 5));
  writeEpisode(root, "seed0/lift+10", "episode0", value);
  writeEpisode(root, "seed0/lift+2", "episode5", value);
  expect(
    openDataset(root)
      .listEpisodes()
      .map(({ id, index }) => [id, index]),
  ).toEqual([
    ["seed0/lift+2/episode5", 0],
    ["seed0/lift+10/episode0", 1],
  ]);
  writeEpisode(root, "seed1/lift+2", "episode5", value);
  expect(() => openDataset(root)).toThrow(/lift\+2 episode 5, which .*seed0.* is already/);
  mkdirSync(join(root, "lift+3"));
  writeFileSync(join(root, "lift+3", "data.mdb"), Buffer.alloc(9000));
  const bad: string[] = [];
  const source = openDataset(root, { onBad: ({ message }) => bad.push(message) });
  expect(source.listEpisodes()).toHaveLength(2);
  expect(bad).toHaveLength(2);
  expect(bad.join("\n")).toMatch(/magic is 0x0[\s\S]*is already|is already[\s\S]*magic is 0x0/);
});
