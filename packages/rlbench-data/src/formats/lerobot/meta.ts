import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { FPS } from "./encode.js";
import { CODEBASE_VERSION, featuresOf, type LeRobotCamera } from "./features.js";
import { LEROBOT_INDEX_FORMAT, LEROBOT_INDEX_VERSION, type LeRobotEntry } from "./index-file.js";
import { encodeParquet } from "./parquet.js";
import { CHUNK_SIZE, chunkFile, EXTRA_FILE, INFO_FILE, placeOf } from "./source.js";
import type { FeatureStats } from "./stats.js";

/** What the metadata of a data set say. */
export interface LeRobotMeta {
  cameras: readonly LeRobotCamera[];
  /** In their order. */
  entries: readonly LeRobotEntry[];
  /** Instructions, in the order of their task_index. */
  tasks: readonly string[];
  stats: ReadonlyMap<string, FeatureStats>;
}

/** Writes the files below `meta`, as LeRobot's `LeRobotDatasetMetadata` reads them, and `meta/minidiff.json`. */
export function writeLeRobotMeta(root: string, { cameras, entries, tasks, stats }: LeRobotMeta): void {
  const write = (file: string, content: string | Buffer): void => {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), content);
  };
  const unfinished = `${INFO_FILE}.partial`;
  const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  write("meta/stats.json", `${JSON.stringify(Object.fromEntries(stats))}\n`);
  write("meta/tasks.parquet", encodeTasks(tasks));
  write(chunkFile("meta/episodes", { chunk: 0, file: 0 }), encodeEpisodes(entries));
  const lines = entries.map((entry) => JSON.stringify(entry));
  const head = JSON.stringify({ format: LEROBOT_INDEX_FORMAT, version: LEROBOT_INDEX_VERSION, cameras }).slice(0, -1);
  write(EXTRA_FILE, `${head},"episodes":[\n${lines.join(",\n")}\n]}\n`);
  // Last, and whole: it makes the folder a data set.
  write(
    unfinished,
    json({
      codebase_version: CODEBASE_VERSION,
      robot_type: null,
      total_episodes: entries.length,
      total_frames: entries.reduce((sum, { frames }) => sum + frames, 0),
      total_tasks: tasks.length,
      chunks_size: CHUNK_SIZE,
      data_files_size_in_mb: 100,
      video_files_size_in_mb: 200,
      fps: FPS,
      splits: { train: `0:${entries.length}` },
      data_path: "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
      video_path: null,
      features: featuresOf(cameras),
    }),
  );
  renameSync(join(root, unfinished), join(root, INFO_FILE));
}

// A pandas frame whose index are the texts.
function encodeTasks(tasks: readonly string[]): Buffer {
  const column = (name: string, pandas: string, numpy: string): object => ({
    name,
    field_name: name,
    pandas_type: pandas,
    numpy_type: numpy,
    metadata: null,
  });
  const pandas = {
    index_columns: ["task"],
    column_indexes: [
      {
        name: null,
        field_name: null,
        pandas_type: "unicode",
        numpy_type: "object",
        metadata: { encoding: "UTF-8" },
      },
    ],
    columns: [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
    pandas_version: "2.0.0",
  };
  return encodeParquet(
    [
      { name: "task_index", type: "int64", values: tasks.map((_, i) => i) },
      { name: "task", type: "text", values: [...tasks] },
    ],
    { pandas: JSON.stringify(pandas) },
  );
}

function encodeEpisodes(entries: readonly LeRobotEntry[]): Buffer {
  let next = 0;
  const starts = entries.map(({ frames }) => (next += frames) - frames);
  const integers = (name: string, value: (i: number) => number): { name: string; type: "int64"; values: number[] } => ({
    name,
    type: "int64",
    values: entries.map((_, i) => value(i)),
  });
  return encodeParquet(
    [
      integers("episode_index", (i) => i),
      { name: "tasks", type: "texts", values: entries.map(({ instructions }) => [...new Set(instructions.texts)]) },
      integers("length", (i) => entries[i].frames),
      integers("data/chunk_index", (i) => placeOf(i).chunk),
      integers("data/file_index", (i) => placeOf(i).file),
      integers("dataset_from_index", (i) => starts[i]),
      integers("dataset_to_index", (i) => starts[i] + entries[i].frames),
      integers("meta/episodes/chunk_index", () => 0),
      integers("meta/episodes/file_index", () => 0),
    ],
    {},
  );
}
