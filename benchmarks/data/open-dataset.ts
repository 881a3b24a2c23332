import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDataset } from "@md/rlbench-data";
import { writeLotusDataset } from "../../packages/rlbench-data/test/support/lotus-dataset.js";

// Time to open and list 3D-LOTUS key steps, and what is read for it: node … open-dataset.ts [TASKS] [EPISODES]
const [tasks, episodes] = [process.argv[2] ?? "18", process.argv[3] ?? "100"].map(Number);
const TARGET_SECONDS = 1;

/** Bytes that this process has read so far; null where the system does not count them. */
function bytesRead(): number | null {
  try {
    return Number(/^rchar: (\d+)/m.exec(readFileSync("/proc/self/io", "utf8"))![1]);
  } catch {
    return null;
  }
}

const root = mkdtempSync(join(tmpdir(), "open-dataset-"));
try {
  writeLotusDataset({ root, tasks, episodes, steps: 4, points: 1000 });
  const before = bytesRead();
  const start = performance.now();
  const source = openDataset(root);
  const found = source.listEpisodes().length;
  const seconds = (performance.now() - start) / 1000;
  const after = bytesRead();
  if (found !== tasks * episodes) throw new Error(`${found} episodes are listed, expected ${tasks * episodes}`);
  const read = before === null || after === null ? "" : `, ${((after - before) / 1e3).toFixed(0)} kB read`;
  console.log(`${tasks} tasks of ${episodes} episodes open in ${(1000 * seconds).toFixed(1)} ms${read}`);

  const start1 = performance.now();
  const refs = source.listEpisodes().slice(0, 200);
  for (const ref of refs) (await source.readEpisode(ref)).readFrame(0);
  console.log(`an episode and its first frame: ${((performance.now() - start1) / refs.length).toFixed(2)} ms`);
  if (!(seconds < TARGET_SECONDS)) {
    console.error(`expected less than ${TARGET_SECONDS} s`);
    process.exitCode = 1;
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}
