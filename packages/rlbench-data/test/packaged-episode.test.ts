import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pickle, PickleError, pyInstance } from "@md/pickle";
import { expect, test } from "vitest";
import { DataError, decodeBlosc, openDataset, type RecordedEpisode } from "../src/index.js";
import { compressBlosc, makePackage, type Package, picklePackage } from "./support/packaged-episode.js";
import { temporaryFolder } from "./support/temporary-folder.js";

const whole = makePackage(2, ["front", "wrist"], 4);

async function readBack(content: Uint8Array): Promise<RecordedEpisode> {
  const root = temporaryFolder();
  mkdirSync(join(root, "stack_blocks+12"));
  writeFileSync(join(root, "stack_blocks+12", "ep3.dat"), content);
  const source = openDataset(root);
  expect(source.format).toBe("3d-diffuser-actor");
  const episodes = source.listEpisodes();
  expect(episodes).toMatchObject([{ task: "stack_blocks", variation: 12, index: 0, id: "stack_blocks+12/ep3" }]);
  return source.readEpisode(episodes[0]);
}

const readPackage = async (changes: Partial<Package>): Promise<RecordedEpisode> =>
  readBack(await compressBlosc(picklePackage({ ...whole, ...changes })));

test("a package is read as it was written", async () => {
  const episode = await readPackage({});
  expect(episode.cameras).toEqual(["front", "wrist"]);
  expect(episode.keyFrames).toEqual([1, 2]);
  expect(episode.states.map(({ position }) => position[2])).toEqual([1, 1.125]);
  expect(episode.keyPoses.map(({ position, open }) => [position[2], open])).toEqual([
    [1.125, 1],
    [1.25, 0],
  ]);
  expect(episode.trajectories!.map((rows) => rows.length)).toEqual([16, 16]);
  expect(episode.instructions).toEqual({ texts: ["stack blocks"], source: "task name" });
  const observation = episode.readFrame(1, ["wrist"]);
  if (observation.kind !== "position images") throw new Error(observation.kind);
  const [{ width, height, rgb, positions }] = observation.cameras;
  expect([width, height]).toEqual([4, 4]);
  const at = 3 * 96;
  expect([...rgb]).toEqual([...whole.observations.data.subarray(at, at + 48)]);
  expect([...positions]).toEqual([...whole.observations.data.subarray(at + 48, at + 96)]);
  expect(() => episode.readFrame(2)).toThrow(/has no frame 2/);
  expect(() => episode.readFrame(0, ["overhead"])).toThrow(/has no camera "overhead"/);
  expect((await readPackage({ trajectories: null })).trajectories).toBeNull();
});

const poison = (index: number, value: number): Package["observations"] => {
  const data = whole.observations.data.slice();
  data[index] = value;
  return { ...whole.observations, data };
};

test.for<[string, Partial<Package>, RegExp]>([
  [
    "no key steps",
    { frameIds: [], observations: { data: new Float64Array(0), shape: [0, 2, 2, 3, 4, 4] } },
    /frame ids has 0 key steps/,
  ],
  [
    "observations of another shape",
    { observations: { ...whole.observations, shape: [2, 2, 3, 2, 4, 4] } },
    /observations is/,
  ],
  ["an action too few", { actions: whole.actions.slice(1) }, /actions has 1 key steps, expected 2/],
  ["a NaN pose", { gripper: [[NaN, 0, 1, 0, 0, 0, 1, 1], whole.gripper[1]] }, /gripper\[0\] is NaN/],
  ["a pose of 7 numbers", { actions: [whole.actions[0].slice(1), whole.actions[1]] }, /actions\[0\] is/],
  ["a camera too few", { cameras: ["front"] }, /cameras name 1 cameras, expected the 2/],
])("%s", async ([, changes, message]) => {
  await expect(readPackage(changes)).rejects.toThrow(message);
  await expect(readPackage(changes)).rejects.toBeInstanceOf(DataError);
});

test("positions and colours that make no sense are refused when the frame is read", async () => {
  const lost = await readPackage({ observations: poison(48, Infinity) });
  expect(() => lost.readFrame(0)).toThrow(/observations\[0\]\[0\] has positions that are not finite/);
  expect(() => lost.readFrame(1)).not.toThrow();
  const bright = await readPackage({ observations: poison(0, 255) });
  expect(() => bright.readFrame(0)).toThrow(/colours outside/);
});

test("hostile pickles inside are refused", async () => {
  const forbidden = await compressBlosc(pickle([pyInstance("os", "system", {})]));
  await expect(readBack(forbidden)).rejects.toBeInstanceOf(PickleError);
  const cut = picklePackage(whole);
  await expect(readBack(await compressBlosc(cut.subarray(0, cut.length - 9)))).rejects.toBeInstanceOf(PickleError);
  await expect(readBack(await compressBlosc(pickle(["a", "b"])))).rejects.toThrow(/expected a list of frame ids/);
});

test("blosc chunks are checked before they are decompressed", async () => {
  const content = Uint8Array.from({ length: 5000 }, (_, i) => i % 17);
  const chunk = Buffer.from(await compressBlosc(content));
  expect(await decodeBlosc(chunk, "a.dat")).toEqual(content);
  const refuse = (bytes: Uint8Array, message: RegExp): Promise<void> =>
    expect(decodeBlosc(bytes, "a.dat")).rejects.toThrow(message);
  const withField = (offset: number, value: number): Buffer => {
    const changed = Buffer.from(chunk);
    changed.writeUInt32LE(value, offset);
    return changed;
  };
  await refuse(chunk.subarray(0, 10), /\[a\.dat\] blosc chunk has 10 bytes/);
  await refuse(chunk.subarray(0, -1), /truncated/);
  await refuse(withField(4, 0xffffffff), /nbytes is 4294967295, expected 1 to/);
  await refuse(withField(8, 1), /no room for 5000 blocks/);
  await refuse(withField(8, 0), /blocksize is 0/);
  await refuse(withField(16, 0x7fffffff), /block 0 begins at byte 2147483647/);
  await refuse(Buffer.concat([Buffer.from([9]), chunk.subarray(1)]), /version is 9/);
});
