import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Packr } from "msgpackr/pack";
import { CounterRandom } from "../../src/index.js";
import { writeLmdb } from "./lmdb-writer.js";

const packr = new Packr({ mapsAsObjects: false, useRecords: false });

/** A value as msgpack-numpy writes it; Maps and objects become maps. */
export const packMsgpack = (value: unknown): Buffer => packr.pack(value);

/** A numpy array as msgpack-numpy writes it: a map with bytes as keys. */
export function numpyMap(descr: string, shape: readonly number[], data: ArrayBufferView): Map<Buffer, unknown> {
  return new Map<Buffer, unknown>([
    [Buffer.from("nd"), true],
    [Buffer.from("type"), descr],
    [Buffer.from("kind"), Buffer.alloc(0)],
    [Buffer.from("shape"), [...shape]],
    [Buffer.from("data"), Buffer.from(data.buffer, data.byteOffset, data.byteLength)],
  ]);
}

/** Fields of a 3D-LOTUS episode of `steps` key steps with `points` points each, as a function of the seed. */
export function lotusFields(seed: number, steps: number, points: number): Map<string, unknown> {
  const random = new CounterRandom(seed, [0, 0, 0]);
  const clouds = Array.from({ length: steps }, () =>
    Float32Array.from({ length: 3 * points }, (_, i) => random.between(...BOX[i % 3])),
  );
  const colors = clouds.map(() => Uint8Array.from({ length: 3 * points }, () => random.below(256)));
  const action = Float32Array.from({ length: 8 * steps }, (_, i) => {
    if (i % 8 < 3) return random.between(...BOX[i % 8]);
    return i % 8 < 6 ? 0 : i % 8 === 6 ? 1 : random.below(2);
  });
  const linkPose = Float32Array.from({ length: 7 * steps }, (_, i) => (i % 7 === 6 ? 1 : 0));
  return new Map<string, unknown>([
    ["xyz", clouds.map((cloud) => numpyMap("<f4", [points, 3], cloud))],
    ["rgb", colors.map((color) => numpyMap("|u1", [points, 3], color))],
    ["sem", clouds.map(() => numpyMap("<i4", [points], new Int32Array(points)))],
    [
      "bbox_info",
      new Map([["Panda_link0_visual_bbox", numpyMap("<f4", [steps, 6], new Float32Array(6 * steps).fill(0.1))]]),
    ],
    ["pose_info", new Map([["Panda_link0_visual_pose", numpyMap("<f4", [steps, 7], linkPose)]])],
    ["key_frameids", Array.from({ length: steps }, (_, step) => 20 * step)],
    ["action", numpyMap("<f4", [steps, 8], action)],
  ]);
}

const BOX: readonly [number, number][] = [
  [-0.2, 0.6],
  [-0.4, 0.4],
  [0.8, 1.5],
];

/** What {@link writeLotusDataset} writes. */
export interface LotusDatasetOptions {
  root: string;
  tasks: number;
  /** Of each task, in one variation. */
  episodes: number;
  /** Key steps an episode. */
  steps: number;
  /** Points a key step. */
  points: number;
}

/** Writes 3D-LOTUS key steps of made-up scenes, with instruction lists. */
export function writeLotusDataset({ root, tasks, episodes, steps, points }: LotusDatasetOptions): void {
  const instructions: Record<string, string[]> = {};
  for (let task = 0; task < tasks; task++) {
    const name = `task_${task}+0`;
    instructions[name] = [`do task ${task}`, `please do task ${task}`];
    const folder = join(root, name);
    mkdirSync(folder, { recursive: true });
    const keys = Array.from({ length: episodes }, (_, i) => [`episode${i}`, i] as const).sort(([a], [b]) =>
      a < b ? -1 : 1,
    );
    const values = function* (): Generator<[string, Buffer]> {
      for (const [key, i] of keys) yield [key, packMsgpack(lotusFields(1000 * task + i, steps, points))];
    };
    writeLmdb(join(folder, "data.mdb"), values());
  }
  writeFileSync(join(root, "taskvars_instructions.json"), JSON.stringify(instructions));
}
