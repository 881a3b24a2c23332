import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { deflateSync } from "node:zlib";
import { pickle, PickleError, pyArray, pyInstance } from "@md/pickle";
import { encode } from "fast-png";
import { expect, test } from "vitest";
import {
  cameraPointCloud,
  DataError,
  decodeDepth,
  encodeDepth,
  type Episode,
  makeReachEpisode,
  openDemonstration,
  openRLBench,
  parseEpisodes,
  readCameraFrame,
  readInstructions,
  readLowDim,
  readPointCloud,
  readReachScene,
  selectEpisodes,
  SYNTHETIC_TASK,
  unprojectDepth,
  writeSyntheticReach,
} from "../src/index.js";
import { readPng } from "../src/png.js";
import { missing, rlbenchFolder } from "./support/paths.js";
import { pngChunk } from "./support/png-chunk.js";
import { temporaryFolder } from "./support/temporary-folder.js";

function syntheticEpisode(): Episode {
  const root = temporaryFolder();
  writeSyntheticReach({ root, episodes: 1, seed: 1 });
  return openRLBench(root).episodes(SYNTHETIC_TASK)[0];
}

test("a missing camera, frame or calibration is named", () => {
  const episode = syntheticEpisode();
  const lowDim = readLowDim(episode);
  const read = (camera: string, frame: number) => () => readCameraFrame(episode, lowDim, camera, frame);
  expect(read("front", 0)).not.toThrow();
  expect(read("overhead", 0)).toThrow(/low_dim_obs\.pkl.*no calibration of camera "overhead"/);
  expect(read("front", 9)).toThrow(/has no frame 9/);
  rmSync(join(episode.directory, "front_rgb", "1.png"));
  expect(read("front", 1)).toThrow(DataError);
  expect(read("front", 1)).toThrow(join("front_rgb", "1.png"));
  rmSync(join(episode.directory, "left_shoulder_depth"), { recursive: true });
  expect(read("left_shoulder", 0)).toThrow(/left_shoulder_depth\] the episode has no depth images/);
  expect(() => readPointCloud(episode, lowDim, 0, ["front", "left_shoulder"])).toThrow(DataError);
  rmSync(join(episode.directory, "front_rgb"), { recursive: true });
  expect(() => openDemonstration(episode).observe(0)).toThrow(/front_rgb\]/);
});

test("a PNG cut short at any byte is refused by name", () => {
  const episode = syntheticEpisode();
  const lowDim = readLowDim(episode);
  const file = join(episode.directory, "front_depth", "0.png");
  const whole = readFileSync(file);
  const lengths = [...Array(100).keys(), ...Array.from({ length: 40 }, (_, i) => Math.floor((whole.length * i) / 40))];
  for (const length of [...lengths, whole.length - 1]) {
    writeFileSync(file, whole.subarray(0, length));
    expect(() => readCameraFrame(episode, lowDim, "front", 0)).toThrow(file);
    expect(() => readCameraFrame(episode, lowDim, "front", 0)).toThrow(DataError);
  }
  const corrupt = Buffer.from(whole);
  corrupt[whole.length >> 1] ^= 1;
  writeFileSync(file, corrupt);
  expect(() => readCameraFrame(episode, lowDim, "front", 0)).toThrow(/corrupt/);
});

test("an image of another size or kind, or far too large a file, is refused", () => {
  const episode = syntheticEpisode();
  const lowDim = readLowDim(episode);
  const file = join(episode.directory, "front_rgb", "0.png");
  const read = () => readCameraFrame(episode, lowDim, "front", 0);
  writeFileSync(file, encode({ width: 64, height: 64, channels: 3, depth: 8, data: new Uint8Array(64 * 64 * 3) }));
  expect(read).toThrow(/image is 64×64, expected 128×128/);
  writeFileSync(file, encode({ width: 128, height: 128, channels: 1, depth: 8, data: new Uint8Array(128 * 128) }));
  expect(read).toThrow(/not 8-bit RGB/);
  const right = encode({ width: 128, height: 128, channels: 3, depth: 8, data: new Uint8Array(128 * 128 * 3) });
  writeFileSync(file, Buffer.concat([right, Buffer.alloc(2 ** 20)]));
  expect(read).toThrow(/too many/);
  writeFileSync(file, "hello");
  expect(read).toThrow(/no PNG/);
});

test("a PNG whose checksums are right but whose pixels are not is refused", () => {
  const file = join(temporaryFolder(), "0.png");
  const [width, height] = [4, 3];
  const rows = Buffer.alloc(height * (1 + 3 * width), 7);
  for (let row = 0; row < height; row++) rows[row * (1 + 3 * width)] = 0;
  const header = (w: number, h: number, interlace = 0): Buffer => {
    const data = Buffer.alloc(13);
    data.writeUInt32BE(w, 0);
    data.writeUInt32BE(h, 4);
    data.set([8, 2, 0, 0, interlace], 8);
    return pngChunk("IHDR", data);
  };
  const pixels = (bytes: Uint8Array): Buffer => pngChunk("IDAT", deflateSync(bytes));
  const end = pngChunk("IEND", Buffer.alloc(0));
  const read = (...chunks: Buffer[]): Uint8Array => {
    writeFileSync(file, Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), ...chunks]));
    return readPng(file, width, height).data;
  };
  expect(new Set(read(header(4, 3), pixels(rows), end))).toEqual(new Set([7]));
  const whole = deflateSync(rows);
  expect(read(header(4, 3), pngChunk("IDAT", whole.subarray(0, 5)), pngChunk("IDAT", whole.subarray(5)), end)).toEqual(
    read(header(4, 3), pixels(rows), end),
  );
  const hostile: [string, Buffer[], RegExp][] = [
    ["a short last row", [header(4, 3), pixels(rows.subarray(0, -1)), end], /38 bytes of pixels, expected 39/],
    ["a missing row", [header(4, 3), pixels(rows.subarray(13)), end], /26 bytes of pixels/],
    ["no pixels", [header(4, 3), end], /corrupt or truncated/],
    ["a stream cut short", [header(4, 3), pngChunk("IDAT", whole.subarray(0, -6)), end], /corrupt or truncated/],
    ["the rest after the end", [header(4, 3), pixels(rows.subarray(13)), end, pixels(rows)], /26 bytes of pixels/],
    ["far more rows", [header(4, 3), pixels(Buffer.alloc(2 ** 24)), end], /corrupt or truncated/],
    ["a second header", [header(4, 3), header(4, 2 ** 31 - 1), pixels(rows), end], /a second header/],
    ["rows of no pass", [header(4, 3, 1), pixels(rows), end], /39 bytes of pixels, expected 4/],
    ["a filter that is none", [header(4, 3), pixels(Buffer.alloc(39, 9)), end], /corrupt or truncated/],
  ];
  for (const [what, chunks, message] of hostile) {
    expect(() => read(...chunks), what).toThrow(DataError);
    expect(() => read(...chunks), what).toThrow(message);
    expect(() => read(...chunks), what).toThrow(file);
  }
});

test("what is no regular file is refused, and never waited for", () => {
  const episode = syntheticEpisode();
  const lowDim = readLowDim(episode);
  const image = join(episode.directory, "front_rgb", "0.png");
  rmSync(image);
  mkdirSync(image);
  expect(() => readCameraFrame(episode, lowDim, "front", 0)).toThrow(/0\.png\] is no regular file/);
  rmSync(lowDim.file);
  symlinkSync("/dev/zero", lowDim.file);
  expect(() => readLowDim(episode)).toThrow(/low_dim_obs\.pkl\] is no regular file/);
});

test("NaN in depth or calibration is refused", () => {
  const { views } = makeReachEpisode(1, 0);
  const view = views.get("front")!;
  view.depth[130] = NaN;
  expect(() => cameraPointCloud(view, "episode0 front")).toThrow("[episode0 front] depth at pixel (2, 1) is NaN");
  expect(() => encodeDepth(view.depth, view.calibration)).toThrow(DataError);
  expect(() => unprojectDepth(new Float32Array(5), 2, 2, view.calibration, "x")).toThrow(/expected 2×2/);
  const { directory } = syntheticEpisode();
  const bytes = readFileSync(join(directory, "low_dim_obs.pkl"));
  const key = bytes.indexOf("front_camera_near");
  bytes.writeDoubleBE(NaN, key + "front_camera_near".length + 1);
  writeFileSync(join(directory, "low_dim_obs.pkl"), bytes);
  expect(() => readLowDim({ directory })).toThrow(/frame 0: misc\.front_camera_near .* expected a finite number/);
});

test("depth survives 24 bits", () => {
  const range = { near: 0.01, far: 4.5 };
  const depth = Float32Array.of(0.01, 0.5, 1.2345, 4.5);
  const decoded = decodeDepth(encodeDepth(depth, range), range);
  for (let i = 0; i < depth.length; i++) expect(Math.abs(decoded[i] - depth[i])).toBeLessThan(5e-7);
  expect(() => encodeDepth([5], range)).toThrow(/expected 0.01 to 4.5 m/);
});

test("both layouts are found; all_variations holds every episode", () => {
  const root = temporaryFolder();
  const add = (path: string): void => void mkdirSync(join(root, path), { recursive: true });
  expect(() => openRLBench(root)).toThrow(/holds no RLBench demonstrations/);
  expect(() => openRLBench(join(root, "none"))).toThrow(DataError);
  add("b/variation10/episodes/episode0");
  add("b/variation2/episodes/episode1");
  add("b/variation2/episodes/episode10");
  add("b/variation2/episodes/notes");
  add("a/all_variations/episodes/episode3");
  add("a/all_variations/episodes/episode12");
  add("a/variation0/episodes/episode0");
  add("not_a_task");
  writeFileSync(join(root, "README"), "");
  const { tasks, episodes } = openRLBench(root);
  expect(tasks).toEqual(["a", "b"]);
  expect(episodes("a").map(({ id, index, variation }) => [id, index, variation])).toEqual([
    ["a/all_variations/episode3", 3, null],
    ["a/all_variations/episode12", 12, null],
  ]);
  expect(episodes("b").map(({ id, index, variation }) => [id, index, variation])).toEqual([
    ["b/variation2/episode1", 0, 2],
    ["b/variation2/episode10", 1, 2],
    ["b/variation10/episode0", 2, 10],
  ]);
  expect(() => episodes("c")).toThrow(/no task "c"; it has a, b/);
  expect(selectEpisodes(episodes("a"), "12,3").map((episode) => episode.index)).toEqual([3, 12]);
  expect(() => selectEpisodes(episodes("a"), "3-4")).toThrow(/no episode 4 among 3, 12/);
});

test("episode selections", () => {
  expect(parseEpisodes("0-3,7")).toEqual([0, 1, 2, 3, 7]);
  expect(parseEpisodes(" 7 , 0 - 1,1")).toEqual([0, 1, 7]);
  for (const bad of ["", "a", "1-", "-1", "3-1", "1,,2", "1.5", "99999999"])
    expect(() => parseEpisodes(bad)).toThrow(DataError);
});

test("where an instruction comes from is told", () => {
  const episode = syntheticEpisode();
  const file = join(episode.directory, "variation_descriptions.pkl");
  expect(readInstructions(episode).source).toBe("variation_descriptions");
  const variationFolder = dirname(dirname(episode.directory));
  copyFileSync(file, join(variationFolder, "variation_descriptions.pkl"));
  rmSync(file);
  expect(readInstructions(episode).source).toBe("variation_descriptions");
  writeFileSync(file, pickle(pyInstance("rlbench.backend.observation", "Observation", {})));
  expect(readInstructions(episode)).toEqual({ texts: ["reach sphere"], source: "task name" });
  expect(() => readInstructions(episode, { required: true })).toThrow(
    /variation_descriptions\.pkl\] holds an instance of rlbench\.backend\.observation\.Observation/,
  );
  writeFileSync(file, pickle(["reach", ""]));
  expect(readInstructions(episode).source).toBe("task name");
  writeFileSync(file, "cos\nsystem\n.");
  expect(() => readInstructions(episode)).toThrow(PickleError);
});

test("a damaged scene.json is refused", () => {
  const episode = syntheticEpisode();
  for (const text of ["", "{}", "null", '{"spheres":[1]}', '{"spheres":[],"target":0}']) {
    writeFileSync(join(episode.directory, "scene.json"), text);
    expect(() => readReachScene(episode)).toThrow(/scene\.json/);
  }
});

test("image sizes follow from the calibration, which must make sense", () => {
  const directory = temporaryFolder();
  const write = (centre: number): void => {
    const misc = new Map([
      ["front_camera_intrinsics", pyArray(Float64Array.of(1, 0, centre, 0, 1, centre, 0, 0, 1), [3, 3])],
      ["front_camera_extrinsics", pyArray(new Float64Array(16), [4, 4])],
      ["front_camera_near", pyArray(Float64Array.of(0.01), [])],
      ["front_camera_far", pyArray(Float64Array.of(1), [])],
    ]);
    const observation = pyInstance("rlbench.backend.observation", "Observation", {
      gripper_pose: pyArray(new Float64Array(7), [7]),
      gripper_open: 1,
      misc,
    });
    writeFileSync(join(directory, "low_dim_obs.pkl"), pickle([observation]));
  };
  for (const centre of [0, -5, 1e9]) {
    write(centre);
    expect(() => readCameraFrame({ directory }, readLowDim({ directory }), "front", 0)).toThrow(/gives no image size/);
  }
});

test("real demonstrations", (ctx) => {
  const reason = missing(rlbenchFolder);
  if (reason) {
    console.warn(`real demonstrations skipped: ${reason}`);
    ctx.skip(reason);
  }
  const root = openRLBench(rlbenchFolder);
  for (const task of root.tasks) {
    for (const episode of root.episodes(task)) {
      const demonstration = openDemonstration(episode);
      expect(demonstration.keyFrames.at(-1)).toBe(demonstration.states.length - 1);
      expect(demonstration.instructions.texts.length).toBeGreaterThan(0);
    }
  }
});
