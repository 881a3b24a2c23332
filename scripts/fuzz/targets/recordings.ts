import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Picklable, pickle, PickleError, pyArray, pyFloat, pyInstance, TorchCheckpointError } from "@md/pickle";
import {
  bytesInMemory,
  convertDataset,
  DataError,
  decodeBlosc,
  decodeMsgpack,
  decodePng,
  exportLeRobot,
  LmdbReader,
  loadInstructionEmbeddings,
  readDepthPng,
  readInstructionLists,
  readInstructionTexts,
} from "@md/rlbench-data";
import { writeLmdb } from "../../../packages/rlbench-data/test/support/lmdb-writer.js";
import {
  lotusFields,
  packMsgpack,
  writeLotusDataset,
} from "../../../packages/rlbench-data/test/support/lotus-dataset.js";
import {
  compressBlosc,
  makePackage,
  picklePackage,
} from "../../../packages/rlbench-data/test/support/packaged-episode.js";
import type { Seed, Target } from "../target.js";
import { fromDataset, fromFile } from "./files.js";
import { pngSeeds, SIDE, smallPng } from "./png-seeds.js";

const errors = [DataError, PickleError, TorchCheckpointError];
const json = (value: unknown): Seed => ({ content: Buffer.from(JSON.stringify(value)) });

/** What `make` writes into a folder that is gone afterwards. */
async function written(make: (folder: string) => unknown, ...path: string[]): Promise<Buffer> {
  const folder = mkdtempSync(join(tmpdir(), "fuzz-seed-"));
  try {
    await make(folder);
    return readFileSync(join(folder, ...path));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const lmdb = (entries: readonly (readonly [string, Uint8Array])[]): Promise<Buffer> =>
  written((folder) => writeLmdb(join(folder, "data.mdb"), entries), "data.mdb");

const lotus = { tasks: 1, episodes: 1, steps: 2, points: 3 };
const INDEX = { format: "minidiff-episodes", version: 1 };
const compact = (...path: string[]): Promise<Buffer> =>
  written(
    async (folder) => {
      writeLotusDataset({ root: join(folder, "from"), ...lotus });
      await convertDataset({ from: join(folder, "from"), to: join(folder, "to"), workers: 0 });
    },
    "to",
    ...path,
  );

function demo(frames: number): Uint8Array {
  const numbers = (count: number): Float64Array => Float64Array.from({ length: count }, (_, i) => i / 8);
  const intrinsics = Float64Array.of(-5, 0, SIDE / 2, 0, -5, SIDE / 2, 0, 0, 1);
  const extrinsics = Float64Array.of(1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1);
  const observation = pyInstance("rlbench.backend.observation", "Observation", {
    joint_velocities: pyArray(numbers(7), [7]),
    joint_positions: pyArray(numbers(7), [7]),
    gripper_joint_positions: pyArray(numbers(2), [2]),
    gripper_open: pyFloat(1),
    gripper_pose: pyArray(Float64Array.of(0, 0, 1, 0, 0, 0, 1), [7]),
    misc: new Map<string, Picklable>([
      ["front_camera_extrinsics", pyArray(extrinsics, [4, 4])],
      ["front_camera_intrinsics", pyArray(intrinsics, [3, 3])],
      ["front_camera_near", pyFloat(0.01)],
      ["front_camera_far", pyFloat(4)],
    ]),
  });
  return pickle(
    pyInstance("rlbench.demo", "Demo", { _observations: Array.from({ length: frames }, () => observation) }),
  );
}

const EPISODE = "reach/all_variations/episodes/episode0";
const images = Object.fromEntries(
  ["front_rgb", "front_depth"].flatMap((kind) => [0, 1].map((frame) => [`${EPISODE}/${kind}/${frame}.png`, smallPng])),
);

/** Files of a LeRobot data set of one episode, by their paths. */
async function lerobot(): Promise<Record<string, Buffer>> {
  const folder = mkdtempSync(join(tmpdir(), "fuzz-seed-"));
  try {
    const [from, to] = [join(folder, "from"), join(folder, "to")];
    for (const [name, content] of Object.entries({ ...images, [`${EPISODE}/low_dim_obs.pkl`]: demo(2) })) {
      mkdirSync(join(from, dirname(name)), { recursive: true });
      writeFileSync(join(from, name), content);
    }
    await exportLeRobot({ from, to });
    const names = ["meta/info.json", LEROBOT_INDEX, LEROBOT_EPISODE];
    return Object.fromEntries(names.map((name) => [name, readFileSync(join(to, name))]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
const LEROBOT_INDEX = "meta/minidiff.json";
const LEROBOT_EPISODE = "data/chunk-000/file-000.parquet";
const leRobotFiles = await lerobot();

function npy(pickled: Uint8Array): Buffer {
  const header = "{'descr': '|O', 'fortran_order': False, 'shape': (), }\n";
  return Buffer.concat([
    Buffer.from("\x93NUMPY\x01\x00", "latin1"),
    Buffer.from([header.length, 0]),
    Buffer.from(header),
    pickled,
  ]);
}

export const recordings: readonly Target[] = [
  {
    name: "png",
    seeds: pngSeeds,
    parse(input, file) {
      const { data } = decodePng(Buffer.from(input), file, SIDE, SIDE);
      if (data.length !== 3 * SIDE * SIDE) throw new RangeError(`the image has ${data.length} bytes`);
    },
    errors,
  },
  { name: "depth-png", seeds: pngSeeds, parse: fromFile((file) => readDepthPng(file, SIDE, SIDE)), errors },
  {
    name: "lmdb",
    seeds: async () => [
      { content: await lmdb([["episode0", Buffer.alloc(20)]]) },
      {
        content: await lmdb(Array.from({ length: 300 }, (_, i) => [`key${1000 + i}`, Buffer.alloc(i % 7 ? 40 : 3000)])),
      },
    ],
    parse(input, file) {
      const reader = new LmdbReader(bytesInMemory(file, input));
      const keys = reader.keys();
      return keys.slice(0, 20).map((key) => reader.get(key));
    },
    errors,
  },
  {
    name: "msgpack",
    seeds: () => [
      { content: packMsgpack(lotusFields(0, 2, 3)) },
      { content: packMsgpack([1, -1, 2 ** 40, 0.1, "é", null, true]) },
    ],
    parse: decodeMsgpack,
    errors,
  },
  {
    name: "lotus",
    seeds: () => [{ content: packMsgpack(lotusFields(0, 2, 3)), wrap: (content) => lmdb([["episode0", content]]) }],
    parse: fromDataset("reach+0/data.mdb"),
    errors,
  },
  {
    name: "blosc",
    seeds: async () => [
      { content: await compressBlosc(Buffer.from("demonstration ".repeat(40))) },
      { content: await compressBlosc(picklePackage(makePackage(2, ["front"], 2))) },
    ],
    parse: decodeBlosc,
    errors,
  },
  {
    name: "diffuser-actor",
    seeds: () => [{ content: picklePackage(makePackage(2, ["front", "wrist"], 2)), wrap: compressBlosc }],
    parse: fromDataset("reach+0/ep0.dat"),
    errors,
  },
  {
    name: "compact",
    seeds: async () => [{ content: await compact("task_0+0", "episode0.safetensors") }],
    parse: fromDataset("task_0+0/episode0.safetensors", {
      "episodes.json": json({
        ...INDEX,
        episodes: [{ task: "task_0", variation: 0, index: 0, id: "task_0+0/episode0" }],
      }).content,
    }),
    errors,
  },
  {
    name: "compact-index",
    seeds: async () => [{ content: await compact("episodes.json") }, json({ ...INDEX, episodes: [] })],
    parse: fromDataset("episodes.json"),
    errors,
  },
  {
    name: "lerobot-index",
    seeds: () => [{ content: leRobotFiles[LEROBOT_INDEX] }],
    parse: fromDataset(LEROBOT_INDEX, leRobotFiles),
    errors,
  },
  {
    name: "lerobot",
    seeds: () => [{ content: leRobotFiles[LEROBOT_EPISODE] }],
    parse: fromDataset(LEROBOT_EPISODE, leRobotFiles),
    errors,
  },
  {
    name: "low-dim",
    seeds: () => [{ content: demo(2) }],
    parse: fromDataset(`${EPISODE}/low_dim_obs.pkl`, images),
    errors,
  },
  {
    name: "variation",
    seeds: () => [{ content: pickle(["open it", "pull it"]) }, { content: pickle(7) }],
    parse: (input, file) =>
      fromDataset(`${EPISODE}/variation_descriptions.pkl`, {
        ...images,
        [`${EPISODE}/low_dim_obs.pkl`]: demo(2),
        [`${EPISODE}/variation_number.pkl`]: input,
      })(input, file),
    errors,
  },
  {
    name: "npy",
    seeds: () => {
      const embedding = pyArray(Float64Array.of(1, 2, 3, 4), [2, 2]);
      const dict = pickle(new Map([["open it", embedding]]));
      // An object array of one element around the dict: numpy's own pickle, but for the dict's place.
      const around = Buffer.from(
        "\x80\x03cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR(K\x01)cnumpy\ndtype\n(X\x02\x00\x00\x00O8\x89\x88tR(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89](",
        "latin1",
      );
      const content = npy(Buffer.concat([around, dict.subarray(2, -1), Buffer.from("etb.")]));
      return [{ content }];
    },
    parse: fromFile((file) => loadInstructionEmbeddings(file).encode("open it"), ".npy"),
    errors,
  },
  {
    name: "embeddings",
    seeds: () => {
      const header = Buffer.from('{"open it":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}} ');
      const length = Buffer.from([header.length, 0, 0, 0, 0, 0, 0, 0]);
      return [{ content: Buffer.concat([length, header, Buffer.alloc(8)]) }];
    },
    parse: fromFile((file) => loadInstructionEmbeddings(file).encode("open it")),
    errors,
  },
  {
    name: "instruction-lists",
    seeds: () => [json({ "open_drawer+0": ["open it"], "close_jar_peract+2": ["close it", "shut it"] })],
    parse: fromFile(readInstructionLists),
    errors,
  },
  {
    name: "instruction-texts",
    seeds: () => [json(["open it", "close it"]), json({ "open_drawer+0": ["open it"] })],
    parse: fromFile(readInstructionTexts, ".json"),
    errors,
  },
];
