import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Picklable, pickle, pyArray, pyFloat, pyInstance, PickleError } from "@md/pickle";
import { expect, test } from "vitest";
import {
  convertDataset,
  DataError,
  describeDataset,
  openDataset,
  orSkipAsync,
  SYNTHETIC_TASK,
  writeSyntheticReach,
} from "../src/index.js";
import { encodeSafetensors, readSafetensors, type SafetensorsContent } from "../src/safetensors.js";
import { writeLmdb } from "./support/lmdb-writer.js";
import { lotusFields, numpyMap, packMsgpack } from "./support/lotus-dataset.js";
import { compressBlosc, makePackage, type Package, picklePackage } from "./support/packaged-episode.js";
import { temporaryFolder } from "./support/temporary-folder.js";

/** Reads all that can be read; what is wrong with the rest must be told as `expected` says, in any order. */
async function expectSkipped(root: string, expected: readonly RegExp[], episodes: number): Promise<void> {
  const bad: Error[] = [];
  const onBad = (error: Error): void => void bad.push(error);
  const info = await describeDataset(openDataset(root, { onBad }), onBad);
  expect(info.episodes).toBe(episodes);
  const messages = bad.map(({ message }) => message).sort();
  for (const error of bad) expect(error instanceof DataError || error instanceof PickleError).toBe(true);
  for (const message of expected) expect(messages).toContainEqual(expect.stringMatching(message));
  expect(messages).toHaveLength(expected.length);
}

const array = (...values: number[]): Picklable => pyArray(Float64Array.from(values), [values.length]);
const observation = (changes: Record<string, Picklable> = {}): Picklable =>
  pyInstance("rlbench.backend.observation", "Observation", {
    gripper_pose: array(0, 0, 1, 0, 0, 0, 1),
    gripper_open: pyFloat(1),
    joint_velocities: array(0, 0, 0, 0, 0, 0, 0),
    ...changes,
  });
const recording = (...observations: Picklable[]): Uint8Array =>
  pickle(pyInstance("rlbench.demo", "Demo", { _observations: observations }));
const uncalibrated = new Map<string, Picklable>([
  ["front_camera_intrinsics", pyArray(Float64Array.of(-175, 0, 64, 0, -175, 64, 0, 0, 1), [3, 3])],
  ["front_camera_near", pyFloat(0.01)],
  ["front_camera_far", pyFloat(4.5)],
]);

test("RLBench: bad episodes are listed by file and field, the rest is read", async () => {
  const root = temporaryFolder();
  const folder = join(root, SYNTHETIC_TASK, "all_variations", "episodes");
  writeSyntheticReach({ root, episodes: 2, seed: 1 });
  const inLowDim = (content: Uint8Array): ((at: string) => void) => {
    return (at) => writeFileSync(join(at, "low_dim_obs.pkl"), content);
  };
  const long = observation({ joint_positions: pyArray(new Float64Array(7), [2 ** 30]) });
  const damages: [damage: (at: string) => void, message: RegExp][] = [
    [(at) => truncateSync(join(at, "front_rgb", "0.png"), 400), /episode2\/front_rgb\/0\.png\] PNG is/],
    [inLowDim(Buffer.from("cos\nsystem\n(S'true'\ntR.")), /episode3\/low_dim_obs\.pkl\] global "os\.system"/],
    [inLowDim(recording(long, long)), /episode4\/low_dim_obs\.pkl\] array f8 \[1073741824\] needs \d+ bytes, found 56/],
    [
      inLowDim(recording(observation(), observation({ gripper_pose: array(NaN, 0, 1, 0, 0, 0, 1) }))),
      /episode5\/low_dim_obs\.pkl\] frame 1: gripper_pose has elements that are not finite/,
    ],
    [inLowDim(recording(observation())), /episode6\/low_dim_obs\.pkl\] has one frame/],
    [
      inLowDim(recording(observation({ misc: uncalibrated }), observation({ misc: uncalibrated }))),
      /episode7\/low_dim_obs\.pkl\] frame 0: misc\.front_camera_extrinsics is missing/,
    ],
    [(at) => rmSync(join(at, "low_dim_obs.pkl")), /episode8\/low_dim_obs\.pkl\] cannot be read/],
    [
      (at) => writeFileSync(join(at, "variation_number.pkl"), pickle("five")),
      /episode9\/variation_number\.pkl\] holds a string/,
    ],
  ];
  damages.forEach(([damage], i) => {
    const at = join(folder, `episode${i + 2}`);
    cpSync(join(folder, "episode0"), at, { recursive: true });
    damage(at);
  });
  cpSync(join(folder, "episode1"), join(folder, "episode001"), { recursive: true });
  const twin = /episode1\] is episode 1, which episode001 is already/;
  await expectSkipped(root, [...damages.map(([, message]) => message), twin], 2);
});

test("3D-LOTUS: bad databases, keys and values are listed, the rest is read", async () => {
  const root = temporaryFolder();
  const write = (taskVariation: string, entries: readonly (readonly [string, Uint8Array])[]): string => {
    mkdirSync(join(root, taskVariation), { recursive: true });
    writeLmdb(join(root, taskVariation, "data.mdb"), entries);
    return join(root, taskVariation, "data.mdb");
  };
  const value = (changes: Record<string, unknown> = {}): Uint8Array =>
    packMsgpack(new Map([...lotusFields(1, 2, 50), ...Object.entries(changes)]));
  const action = (rows: number, columns: number, first: number): unknown =>
    numpyMap("<f4", [rows, columns], new Float32Array(rows * columns).fill(first, 0, 1));
  write("push+0", [
    ["episode0", value()],
    ["episode1", value({ action: action(2, 7, 0) })],
    ["episode2", value({ action: action(2, 8, NaN) })],
    ["episode3", value({ action: action(1, 8, 0) })],
    ["episode4", Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff])],
    ["episode5", value({ xyz: [numpyMap("<f4", [50, 2], new Float32Array(100)), action(50, 3, 0)] })],
    ["notes", value()],
  ]);
  writeFileSync(write("push+1", [["episode0", value()]]), Buffer.alloc(9000));
  const whole = write("push+2", [["episode0", value()]]);
  truncateSync(whole, readFileSync(whole).length - 1);
  write("seed1/push+0", [["episode0", value()]]);
  write("push+3", [["episode7", value()]]);
  await expectSkipped(
    root,
    [
      /push\+0\/data\.mdb#episode1\] action has shape \[2, 7\], expected \[\*, 8\]/,
      /push\+0\/data\.mdb#episode2\] action has NaN at element 0/,
      /push\+0\/data\.mdb#episode3\] action has 1 key steps, expected 2 to/,
      /push\+0\/data\.mdb#episode4\] .*announces 4294967295 values, 0 bytes are left/,
      /push\+0\/data\.mdb#episode5\] xyz\[0\] has shape \[50, 2\], expected \[\*, 3\]/,
      /push\+0\/data\.mdb\] has the key "notes", expected episodeN/,
      /push\+1\/data\.mdb\] magic is 0x0, expected that of LMDB/,
      /push\+2\/data\.mdb\] file has \d+ bytes, expected \d+: truncated/,
      /seed1\/push\+0\/data\.mdb#episode0\] is push\+0 episode 0, which .*push\+0\/data\.mdb#episode0 is already/,
    ],
    2,
  );
});

test("lists of instructions: bad entries and files are listed, the episodes are read", async () => {
  const root = temporaryFolder();
  for (const folder of ["push+0", "push+1"]) {
    mkdirSync(join(root, folder));
    writeFileSync(join(root, folder, "ep0.dat"), await compressBlosc(picklePackage(makePackage(2, ["front"], 4))));
  }
  const lists = join(root, "taskvars_instructions.json");
  const textsOf = async (): Promise<(string[] | null)[]> => {
    const source = openDataset(root, { onBad: () => undefined });
    const read = source.listEpisodes().map((ref) => orSkipAsync(ignore, () => source.readEpisode(ref)));
    return (await Promise.all(read)).map((episode) => episode?.instructions.texts ?? null);
  };
  const ignore = (): void => undefined;

  writeFileSync(lists, JSON.stringify({ "push+0": ["push it"], "push+1": [3], other: [] }));
  expect(() => openDataset(root)).toThrow(/instructions\.json\] "push\+1" is no task\+variation with a list/);
  const absent = /instructions\.json\] has no instructions of push\+1/;
  await expectSkipped(root, [/instructions\.json\] "push\+1" is no/, /instructions\.json\] "other" is no/, absent], 1);
  expect(await textsOf()).toEqual([["push it"], null]);

  for (const [content, message] of [
    ["{", /instructions\.json\] is no JSON/],
    ["[]", /instructions\.json\] is no JSON object/],
  ] as const) {
    writeFileSync(lists, content);
    expect(() => openDataset(root)).toThrow(message);
    await expectSkipped(root, [message], 2);
    expect(await textsOf()).toEqual([["push"], ["push"]]);
  }
  copyFileSync(lists, join(root, "taskvars_instructions_2.json"));
  await expectSkipped(root, [/has taskvars_instructions\.json and taskvars_instructions_2\.json, expected one/], 2);
});

test("3D Diffuser Actor: bad packages are listed, the rest is read", async () => {
  const root = temporaryFolder();
  mkdirSync(join(root, "push+0"));
  const write = (name: string, content: Uint8Array): void => writeFileSync(join(root, "push+0", name), content);
  const whole = makePackage(2, ["front"], 4);
  const pack = (changes: Partial<Package>): Promise<Uint8Array> =>
    compressBlosc(picklePackage({ ...whole, ...changes }));
  write("ep0.dat", await pack({}));
  const bomb = Buffer.from(await compressBlosc(new Uint8Array(2 ** 20)));
  bomb.writeUInt32LE(0xffffff00, 4);
  write("ep1.dat", bomb);
  write("ep2.dat", await compressBlosc(pickle([pyInstance("os", "system", {})])));
  write("ep3.dat", await pack({ gripper: [[NaN, 0, 1, 0, 0, 0, 1, 1], whole.gripper[1]] }));
  write("ep4.dat", (await pack({})).subarray(0, -5));
  write("ep5.dat", await pack({ cameras: [] }));
  write("notes.dat", Buffer.from("hello"));
  write("ep00.dat", await pack({}));
  await expectSkipped(
    root,
    [
      /ep1\.dat\] blosc nbytes is 4294967040, expected 1 to 268435456/,
      /ep2\.dat\] global "os\.system" is not on the whitelist/,
      /ep3\.dat\] gripper\[0\] is NaN|ep3\.dat\] .*gripper\[0\]/,
      /ep4\.dat\] blosc cbytes is \d+, but the chunk has \d+ bytes: truncated/,
      /ep5\.dat\] .*cameras name 0 cameras, expected the 1/,
      /notes\.dat\] is no epN\.dat/,
      /ep0+\.dat\] is push\+0 episode 0, which .*ep0+\.dat is already/,
    ],
    1,
  );
});

test("compact: bad episodes and entries of the index are listed, the rest is read", async () => {
  const folder = temporaryFolder();
  const [from, root] = [join(folder, "from"), join(folder, "to")];
  writeSyntheticReach({ root: from, episodes: 7, seed: 1 });
  await convertDataset({ from, to: root, workers: 0 });
  const files = openDataset(root)
    .listEpisodes()
    .map(({ location }) => location);
  const change = (at: number, edit: (content: SafetensorsContent) => void): void => {
    const content = readSafetensors(files[at]);
    edit(content);
    writeFileSync(files[at], encodeSafetensors(content, files[at]));
  };
  change(1, ({ tensors }) => void ((tensors.get("key_poses")!.data as Float64Array)[0] = NaN));
  change(2, ({ tensors }) => void tensors.delete("frame0.front.extrinsics"));
  change(3, ({ tensors }) => {
    tensors.set("key_frames", { dtype: "I32", shape: [0], data: new Int32Array(0) });
    tensors.set("key_poses", { dtype: "F64", shape: [0, 8], data: new Float64Array(0) });
  });
  truncateSync(files[4], 1000);
  copyFileSync(files[5], files[6]);
  const index = join(root, "episodes.json");
  const listed = JSON.parse(readFileSync(index, "utf8")) as { episodes: object[] };
  listed.episodes.push(listed.episodes[0], { task: 5 });
  writeFileSync(index, JSON.stringify(listed));
  await expectSkipped(
    root,
    [
      /episode1\.safetensors\] tensor "key_poses" has elements that are not finite/,
      /episode2\.safetensors\] .*"frame0\.front\.extrinsics"/,
      /episode3\.safetensors\] tensor "key_frames" is \[\] of \d+ frames/,
      /episode4\.safetensors\] .*does not fit/,
      /episode6\.safetensors\] id is .*episode5, expected .*episode6/,
      /episodes\.json\] episodes\[7\]: .*episode0 is there twice/,
      /episodes\.json\] episodes\[8\] has no valid task/,
    ],
    2,
  );
});
