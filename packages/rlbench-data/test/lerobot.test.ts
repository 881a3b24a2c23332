import { spawnSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import { expect, test } from "vitest";
import {
  convertDataset,
  type ConvertResult,
  CounterRandom,
  DataError,
  demonstrationOf,
  type EpisodeSource,
  exportLeRobot,
  keySteps,
  openDataset,
  type RecordedEpisode,
  writeSyntheticReach,
} from "../src/index.js";
import { readParquet } from "../src/formats/lerobot/read-parquet.js";
import { writeLotusDataset } from "./support/lotus-dataset.js";
import { writePackages } from "./support/packages.js";
import { missing, rlbenchFolder } from "./support/paths.js";
import { temporaryFolder } from "./support/temporary-folder.js";

const DATA = "data/chunk-000/file-000.parquet";

function writeReach(root: string, episodes = 2): string {
  writeSyntheticReach({ root, episodes, seed: 3 });
  return root;
}

const firstOf = (source: EpisodeSource): Promise<RecordedEpisode> => source.readEpisode(source.listEpisodes()[0]);

/** What must come back to the bit. */
function exactPart(episode: RecordedEpisode): object {
  const { variation, instructions, states, keyFrames, keyPoses, recordedFrames, cameras } = episode;
  return { variation, instructions, states, keyFrames, keyPoses, recordedFrames, cameras };
}

test("depth images come back with the same key steps, colours and cameras, depth to half a millimetre", async () => {
  const folder = temporaryFolder();
  const [from, to] = [writeReach(join(folder, "from")), join(folder, "to")];
  const progress: number[] = [];
  const result = await exportLeRobot({ from, to, onProgress: ({ done }) => progress.push(done) });
  expect(result).toMatchObject({ finished: true, written: 2, skipped: 0 });
  expect(progress).toEqual([1, 2]);
  const [source, exported] = [openDataset(from), openDataset(to)];
  expect(exported.format).toBe("lerobot");
  expect(exported.listEpisodes()).toHaveLength(2);
  for (const [i, ref] of exported.listEpisodes().entries()) {
    const original = keySteps(await source.readEpisode(source.listEpisodes()[i]));
    const back = await exported.readEpisode(ref);
    expect(ref).toMatchObject({ task: original.ref.task, index: original.ref.index, id: original.ref.id });
    expect(exactPart(back)).toEqual(exactPart(original));
    for (const frame of back.states.keys()) {
      const [a, b] = [original.readFrame(frame), back.readFrame(frame)];
      if (a.kind !== "depth images" || b.kind !== "depth images") throw new Error("expected depth images");
      expect(b.cameras.map(({ rgb: _, depth: __, ...rest }) => rest)).toEqual(
        a.cameras.map(({ rgb: _, depth: __, ...rest }) => rest),
      );
      for (const [c, { rgb, depth }] of a.cameras.entries()) {
        expect(Buffer.compare(b.cameras[c].rgb, rgb)).toBe(0);
        const errors = depth.map((value, p) => Math.abs(value - b.cameras[c].depth[p]));
        expect(errors.every((error) => error <= 0.000501)).toBe(true);
        expect(errors.some((error) => error > 0)).toBe(true);
      }
    }
  }
  const again = join(folder, "again");
  await exportLeRobot({ from: to, to: again });
  expect(readFileSync(join(again, DATA)).equals(readFileSync(join(to, DATA)))).toBe(true);
});

test("images with positions come back, colours to 8 bits", async () => {
  const folder = temporaryFolder();
  const [from, to] = [await writePackages(join(folder, "from"), 2), join(folder, "to")];
  await exportLeRobot({ from, to });
  const [original, back] = [await firstOf(openDataset(from)), await firstOf(openDataset(to))];
  expect(exactPart(back)).toEqual(exactPart(original));
  const [a, b] = [original.readFrame(1), back.readFrame(1)];
  if (a.kind !== "position images" || b.kind !== "position images") throw new Error("expected position images");
  expect(b.cameras[0].positions).toEqual(a.cameras[0].positions);
  const errors = [...a.cameras[0].rgb.map((value, i) => Math.abs(value - b.cameras[0].rgb[i]))];
  expect(errors.every((error) => error <= 0.5 / 127.5 + 1e-6)).toBe(true);
});

test("what is exported trains and converts as any other format", async () => {
  const folder = temporaryFolder();
  const to = join(folder, "to");
  await exportLeRobot({ from: writeReach(join(folder, "from")), to });
  const back = await firstOf(openDataset(to));
  expect(demonstrationOf(back).observe(0).positions.length).toBeGreaterThan(1000);
  await convertDataset({ from: to, to: join(folder, "compact") });
  const compact = await firstOf(openDataset(join(folder, "compact")));
  expect(exactPart(compact)).toEqual(exactPart(back));
  expect(compact.readFrame(0)).toEqual(back.readFrame(0));
});

test("the metadata are those of the format", async () => {
  const folder = temporaryFolder();
  const to = join(folder, "to");
  await exportLeRobot({ from: writeReach(join(folder, "from")), to });
  const json = (file: string): Record<string, never> => JSON.parse(readFileSync(join(to, file), "utf8"));
  const info = json("meta/info.json") as Record<string, unknown>;
  const rows = (await readParquet(join(to, DATA), ["index"])).length;
  const second = await readParquet(join(to, DATA.replace("file-000", "file-001")), [
    "index",
    "task_index",
    "next.done",
  ]);
  expect(info).toMatchObject({
    codebase_version: "v3.0",
    total_episodes: 2,
    total_frames: rows + second.length,
    splits: { train: "0:2" },
    data_path: "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
  });
  const features = info.features as Record<string, { dtype: string; shape: number[]; info?: object }>;
  expect(features["observation.images.front"]).toMatchObject({
    dtype: "image",
    shape: [expect.any(Number), expect.any(Number), 3],
  });
  expect(features["observation.depth.front"].info).toEqual({ is_depth_map: true, depth_unit: "mm" });
  expect(second.map(({ index }) => Number(index))).toEqual(second.map((_, i) => rows + i));
  expect(second.map((row) => row["next.done"])).toEqual(second.map((_, i) => i === second.length - 1));
  const episodes = await readParquet(join(to, "meta/episodes", "chunk-000/file-000.parquet"), [
    "tasks",
    "dataset_from_index",
    "length",
  ]);
  expect(episodes.map((row) => Number(row.dataset_from_index))).toEqual([0, rows]);
  const tasks = await readParquet(join(to, "meta/tasks.parquet"), ["task_index", "task"]);
  expect(tasks.length).toBe(info.total_tasks);
  const decoder = new TextDecoder();
  const texts = tasks.map(({ task }) => (typeof task === "string" ? task : decoder.decode(task as Uint8Array)));
  expect(texts).toContain((await firstOf(openDataset(to))).instructions.texts[0]);
  const stats = json("meta/stats.json") as Record<string, Record<string, unknown[]>>;
  expect(Object.keys(stats)).toEqual(Object.keys(features));
  expect(stats.index).toEqual({
    min: [0],
    max: [rows + second.length - 1],
    mean: [(rows + second.length - 1) / 2],
    std: [expect.closeTo(Math.sqrt(((rows + second.length) ** 2 - 1) / 12), 9)],
    count: [rows + second.length],
  });
  expect(stats["observation.images.front"].mean).toEqual([
    [[expect.any(Number)]],
    [[expect.any(Number)]],
    [[expect.any(Number)]],
  ]);
});

test("what cannot be exported is refused", async () => {
  const folder = temporaryFolder();
  const to = join(folder, "to");
  const lotus = join(folder, "lotus");
  writeLotusDataset({ root: lotus, tasks: 1, episodes: 1, steps: 3, points: 50 });
  await expect(exportLeRobot({ from: lotus, to })).rejects.toThrow(/is of fused clouds/);
  expect(existsSync(to)).toBe(false);
  const from = writeReach(join(folder, "from"));
  rmSync(join(from, "reach_sphere/all_variations/episodes/episode1/front_rgb"), { recursive: true });
  await expect(exportLeRobot({ from, to })).rejects.toThrow(DataError);
  const bad: string[] = [];
  const skipping = await exportLeRobot({ from, to, onBad: ({ message }) => bad.push(message) });
  expect(skipping).toMatchObject({ finished: true, written: 1, skipped: 1 });
  expect(bad).toEqual([expect.stringContaining("episode1")]);
  await expect(exportLeRobot({ from, to })).rejects.toThrow(/holds a data set already \(meta\/info\.json\)/);
  await expect(exportLeRobot({ from: lotus, to: from })).rejects.toThrow(/is not empty, and of no interrupted/);
  await expect(exportLeRobot({ from, to: join(from, "inside") })).rejects.toThrow(/lies within/);
  const [whole, front] = [writeReach(join(folder, "whole")), join(folder, "front")];
  await exportLeRobot({ from: whole, to: front, cameras: ["front"] });
  expect((await firstOf(openDataset(front))).cameras).toEqual(["front"]);
  expect(readdirSync(folder).sort()).toEqual(["from", "front", "lotus", "to", "whole"]);
});

/** Content of each file, by its path below a folder. */
function filesOf(root: string): Map<string, string> {
  const names = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const files = names.map(({ parentPath, name }) => join(parentPath, name)).sort();
  return new Map(files.map((file) => [file.slice(root.length), readFileSync(file).toString("base64")]));
}

/** Exports until so many episodes are known and written. */
function exportPart(from: string, to: string, written: number, cameras?: readonly string[]): Promise<ConvertResult> {
  const controller = new AbortController();
  const onProgress = ({ done }: { done: number }): void => {
    if (done === written) controller.abort();
  };
  return exportLeRobot({ from, to, cameras, workers: 0, signal: controller.signal, onProgress });
}

test("an interrupted export goes on to the same bytes, and is no data set before its end", async () => {
  const folder = temporaryFolder();
  const [from, whole, to] = [writeReach(join(folder, "from"), 4), join(folder, "whole"), join(folder, "to")];
  await exportLeRobot({ from, to: whole });
  expect(await exportPart(from, to, 3)).toMatchObject({ finished: false, written: 3, kept: 0 });
  expect(() => openDataset(to)).toThrow(/holds no episodes/);
  const other = writeReach(join(folder, "other"), 1);
  await expect(exportLeRobot({ from: other, to })).rejects.toThrow(/is of a conversion of .*from, not of .*other/);
  await expect(convertDataset({ from, to })).rejects.toThrow(
    /is of a conversion to the format lerobot, not to compact/,
  );
  // One is cut short, as by a kill; one has changed; one stays.
  truncateSync(join(to, DATA), 5000);
  const second = join(to, DATA.replace("file-000", "file-001"));
  const changed = readFileSync(second);
  changed[1000] ^= 1;
  writeFileSync(second, changed);
  expect(await exportLeRobot({ from, to })).toMatchObject({ finished: true, written: 3, kept: 1, skipped: 0 });
  expect(filesOf(to)).toEqual(filesOf(whole));
});

test("an export of another layout starts anew", async () => {
  const folder = temporaryFolder();
  const [from, to] = [writeReach(join(folder, "from"), 3), join(folder, "to")];
  await exportPart(from, to, 2);
  const front = { from, to, cameras: ["front"] };
  expect(await exportPart(from, to, 1, front.cameras)).toMatchObject({ finished: false, written: 1, kept: 0 });
  expect(await exportLeRobot(front)).toMatchObject({ finished: true, written: 2, kept: 1 });
  const expected = join(folder, "expected");
  await exportLeRobot({ ...front, to: expected });
  expect(filesOf(to)).toEqual(filesOf(expected));
});

test("worker threads write what one thread writes, also without episodes whose images turn out bad", async () => {
  const folder = temporaryFolder();
  const from = writeReach(join(folder, "from"), 4);
  const [one, two] = [join(folder, "one"), join(folder, "two")];
  const whole = { finished: true, written: 4, skipped: 0 };
  expect(await exportLeRobot({ from, to: one, workers: 0 })).toMatchObject(whole);
  expect(await exportLeRobot({ from, to: two, workers: 2 })).toMatchObject(whole);
  expect(filesOf(two)).toEqual(filesOf(one));

  const images = join(from, "reach_sphere/all_variations/episodes/episode1/front_rgb");
  for (const name of readdirSync(images)) writeFileSync(join(images, name), "no PNG");
  await expect(exportLeRobot({ from, to: join(folder, "none"), workers: 2 })).rejects.toThrow(
    /episode1.*PNG is corrupt/,
  );
  const results = [0, 2].map(async (workers) => {
    const to = join(folder, `without${workers}`);
    const [bad, progress]: [string[], number[]] = [[], []];
    const onBad = ({ message }: Error): void => void bad.push(message);
    const onProgress = ({ done }: { done: number }): void => void progress.push(done);
    const result = await exportLeRobot({ from, to, workers, onBad, onProgress });
    expect(result).toMatchObject({ finished: true, written: 3, skipped: 1 });
    expect(bad).toEqual([expect.stringMatching(/episode1.*PNG is corrupt/)]);
    expect(progress).toEqual([1, 2, 3, 4]);
    return filesOf(to);
  });
  const [without, byTwo] = await Promise.all(results);
  expect(byTwo).toEqual(without);
  const left = join(folder, "left");
  cpSync(from, left, { recursive: true });
  rmSync(join(left, "reach_sphere/all_variations/episodes/episode1"), { recursive: true });
  await exportLeRobot({ from: left, to: join(folder, "expected"), workers: 0 });
  const data = (files: Map<string, string>): string[] => [...files].filter(([name]) => name.startsWith("/data")).flat();
  expect(data(without)).toEqual(data(filesOf(join(folder, "expected"))));
}, 60_000);

test("a broken data set is refused by file and field", async () => {
  const folder = temporaryFolder();
  const [to, copy] = [join(folder, "to"), join(folder, "copy")];
  await exportLeRobot({ from: writeReach(join(folder, "from")), to, cameras: ["front"] });
  const change = async (file: string, from: string | RegExp, by: string): Promise<RecordedEpisode> => {
    rmSync(copy, { recursive: true, force: true });
    cpSync(to, copy, { recursive: true });
    const text = readFileSync(join(copy, file), "utf8");
    expect(text.replace(from, by)).not.toBe(text);
    writeFileSync(join(copy, file), text.replace(from, by));
    return firstOf(openDataset(copy));
  };
  const refuse = async (file: string, from: string | RegExp, by: string, message: RegExp): Promise<void> => {
    await expect(change(file, from, by)).rejects.toThrow(message);
    await expect(change(file, from, by)).rejects.toThrow(DataError);
  };
  const extra = "meta/minidiff.json";
  await refuse("meta/info.json", '"v3.0"', '"v2.1"', /info\.json\] codebase_version is "v2\.1", expected "v3\.0"/);
  await refuse(extra, "minidiff-lerobot", "other", /is "other" 1, expected "minidiff-lerobot" 1/);
  await refuse(extra, '"minidiff-lerobot"', '{"toString":1}', /is \{"toString":1\} 1, expected "minidiff-lerobot" 1/);
  await refuse(extra, /"frames":\d+/, '"frames":{"toString":1}', /episodes\[0\]\.frames is \{"toString":1\}/);
  await refuse(extra, '"name":"front"', '"name":"../front"', /cameras\[0\]\.name is "\.\.\/front"/);
  await refuse(extra, '"name":"front"', '"name":"rear"', /file-000\.parquet\].* no column "observation\.images\.rear"/);
  await refuse(extra, /"width":\d+/, '"width":1e9', /expected sides up to 8192/);
  await refuse(extra, /"id":"/, '"id":"../', /episodes\[0\]\.id is "\.\.\/.*expected a path below/);
  await refuse(extra, /"frames":\d+/, '"frames":1000000000', /episodes\[0\]\.frames is 1000000000/);
  await refuse(
    extra,
    /"frames":\d+,"keyPoses":\d+,"recordedFrames":\[[^\]]*\]/,
    '"frames":9,"keyPoses":8,"recordedFrames":null',
    /has \d rows, expected 9/,
  );
  await refuse(extra, /"texts":\[[^\]]*\]/, '"texts":[]', /episodes\[0\]\.instructions has no texts/);
  const wider = await change(extra, /"width":\d+/, '"width":7');
  expect(() => wider.readFrame(0)).toThrow(/row 0 observation\.images\.front\] image is \d+×\d+, expected 7×/);
  rmSync(join(copy, extra));
  expect(() => openDataset(copy)).toThrow(
    /minidiff\.json\] is missing: LeRobot's own files do not tell where cameras are/,
  );
  const swapped = join(to, DATA.replace("file-000", "file-001"));
  writeFileSync(join(to, DATA), readFileSync(swapped));
  await expect(firstOf(openDataset(to))).rejects.toThrow(/file-000\.parquet\] row 0: episode_index is 1, expected 0/);
});

test("parquet files of every kind of damage are refused, and reading goes on", async () => {
  const folder = temporaryFolder();
  const to = join(folder, "to");
  await exportLeRobot({ from: writeReach(join(folder, "from"), 1), to, cameras: ["front"] });
  const whole = readFileSync(join(to, DATA));
  const file = join(folder, "changed.parquet");
  const columns = ["observation.state", "action", "observation.images.front", "index"];
  const random = new CounterRandom(5);
  let refused = 0;
  for (let i = 0; i < 150; i++) {
    const changed = Buffer.from(whole);
    // The footer, which claims sizes, is at the end.
    const span = i % 2 === 0 ? 6000 : changed.length;
    for (let k = 0; k < 1 + (i % 4); k++) changed[changed.length - 1 - random.below(span)] = random.below(256);
    writeFileSync(file, i % 10 === 9 ? changed.subarray(0, random.below(changed.length)) : changed);
    await readParquet(file, columns).catch((error: unknown) => {
      expect(error).toBeInstanceOf(DataError);
      refused++;
    });
  }
  expect(refused).toBeGreaterThan(50);
  writeFileSync(file, whole);
  expect((await readParquet(file, columns)).length).toBeGreaterThan(1);
  const many = parquetWriteBuffer({
    columnData: [{ name: "index", data: Array.from({ length: 5000 }, (_, i) => i), type: "INT32" }],
  });
  writeFileSync(file, Buffer.from(many));
  await expect(readParquet(file, ["index"])).rejects.toThrow(/it has 5000 rows, at most 4096 are allowed/);
}, 120_000);

test("a run that claims to unpack to billions of values ends the reader's process, not this one", async () => {
  const file = join(temporaryFolder(), "bomb.parquet");
  const columnData = [{ name: "a", data: [1, 2, 3, 4], type: "DOUBLE" as const, encoding: "PLAIN" as const }];
  const buffer = Buffer.from(parquetWriteBuffer({ columnData, codec: "UNCOMPRESSED", statistics: false }));
  // Four definition levels, packed as bits, then the values: they become a run of 2^31 - 1 levels.
  const levels = buffer.indexOf(Buffer.from("030f000000000000f03f", "hex"));
  expect(levels).toBeGreaterThan(0);
  buffer.set([0xfe, 0xff, 0xff, 0xff, 0x0f], levels);
  writeFileSync(file, buffer);
  const sound = file.replace("bomb", "sound");
  writeFileSync(sound, Buffer.from(parquetWriteBuffer({ columnData })));
  for (let i = 0; i < 2; i++) {
    await expect(readParquet(file, ["a"])).rejects.toThrow(
      /bomb\.parquet\] cannot be read .*: it takes far longer than/,
    );
    expect(await readParquet(sound, ["a"])).toEqual([{ a: 1 }, { a: 2 }, { a: 3 }, { a: 4 }]);
  }
  await expect(readParquet(file.replace("bomb", "none"), ["a"])).rejects.toThrow(/none\.parquet\] is missing/);
}, 60_000);

test("pandas reads the tables", async (ctx) => {
  const python = spawnSync("python3", ["-c", "import pandas, pyarrow"], { encoding: "utf8" });
  if (python.status !== 0) ctx.skip("python3 has no pandas with pyarrow");
  const folder = temporaryFolder();
  const to = join(folder, "to");
  await exportLeRobot({ from: writeReach(join(folder, "from")), to });
  const program = `
import io, json, sys
import pandas as pd
root = sys.argv[1]
tasks = pd.read_parquet(root + "/meta/tasks.parquet")
episodes = pd.read_parquet(root + "/meta/episodes/chunk-000/file-000.parquet")
data = pd.read_parquet(root + "/${DATA}")
print(json.dumps({
    "tasks": list(tasks.index), "index": tasks.index.name, "length": [int(n) for n in episodes["length"]],
    "rows": len(data), "state": [float(v) for v in data["observation.state"][0]],
    "magic": data["observation.images.front"][0]["bytes"][1:4].decode(),
}))`;
  const read = spawnSync("python3", ["-c", program, to], { encoding: "utf8" });
  expect(read.stderr).toBe("");
  const { states, instructions } = await firstOf(openDataset(to));
  const told = JSON.parse(read.stdout) as Record<string, unknown>;
  expect(told).toMatchObject({ index: "task", rows: states.length, magic: "PNG" });
  expect(told.state).toEqual([...states[0].position, ...states[0].quaternion, states[0].open]);
  expect(told.tasks).toContain(instructions.texts[0]);
});

test("real demonstrations are exported with the cameras that all have", async (ctx) => {
  const reason = missing(rlbenchFolder);
  if (reason) ctx.skip(reason);
  const to = join(temporaryFolder(), "to");
  await expect(exportLeRobot({ from: rlbenchFolder, to })).rejects.toThrow(/choose cameras that all episodes have/);
  const result = await exportLeRobot({ from: rlbenchFolder, to, cameras: ["front", "wrist"] });
  expect(result.finished).toBe(true);
  const [original, back] = [keySteps(await firstOf(openDataset(rlbenchFolder))), await firstOf(openDataset(to))];
  expect(back.keyPoses).toEqual(original.keyPoses);
  expect(back.instructions).toEqual(original.instructions);
}, 60_000);
