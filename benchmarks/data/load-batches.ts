import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { demonstrationOf, type KeyPoseDataset, loadBatches, openDataset, prepareKeyPoses } from "@md/rlbench-data";
import { writeLotusDataset } from "../../packages/rlbench-data/test/support/lotus-dataset.js";
import { interval } from "../measure/statistics.js";

// Scenes a second from 3D-LOTUS key steps in LMDB to augmented batches on one worker: node … load-batches.ts [POINTS]
const cloudPoints = Number(process.argv[2] ?? 10_000);
const TARGET_SCENES_A_SECOND = 150;
const [SCENES, POINTS, ROUNDS, BATCHES] = [100, 4000, 9, 4];
const data = { tasks: 2, episodes: 20, steps: 6, points: cloudPoints };

async function prepare(root: string): Promise<KeyPoseDataset> {
  const source = openDataset(root);
  const episodes = await Promise.all(source.listEpisodes().map((ref) => source.readEpisode(ref)));
  return prepareKeyPoses(episodes.map((episode) => demonstrationOf(episode)));
}

/** Seconds of processor time of this process so far. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

const secondsSince = (start: number): number => (performance.now() - start) / 1000;
const root = mkdtempSync(join(tmpdir(), "load-batches-"));
try {
  writeLotusDataset({ root, ...data });
  const start = performance.now();
  const dataset = await prepare(root);
  const reading = secondsSince(start);
  const states = dataset.samples.length;
  const loader = loadBatches(dataset, {
    seed: 1,
    batchSize: SCENES,
    points: POINTS,
    rotationRange: 45,
    pointJitter: 0.002,
    workers: 1,
  });
  await loader.batch(0);
  const first = secondsSince(start);
  console.log(
    `${states} states of ${cloudPoints} points: read and prepared in ${reading.toFixed(2)} s, ` +
      `first batch after ${first.toFixed(2)} s`,
  );
  const speeds: number[] = [];
  const drawn = cpuSeconds();
  for (let round = 0, index = 1; round < ROUNDS; round++) {
    const begun = performance.now();
    for (let i = 0; i < BATCHES; i++) await loader.batch(index++);
    speeds.push((BATCHES * SCENES) / secondsSince(begun));
  }
  const drawing = (cpuSeconds() - drawn) / (ROUNDS * BATCHES * SCENES);
  await loader.close();
  const prepared = cpuSeconds();
  await prepare(root);
  const preparing = (cpuSeconds() - prepared) / states;
  console.log(
    `processor time a scene: ${(1000 * preparing).toFixed(2)} ms to read and prepare, once; ` +
      `${(1000 * drawing).toFixed(2)} ms to draw; both every time would be ` +
      `${(1 / (preparing + drawing)).toFixed(0)} scenes a second on one core`,
  );
  const { median, low, high } = interval(speeds);
  console.log(
    `batches of ${SCENES} scenes × ${POINTS} points, one worker: ${median.toFixed(0)} scenes a second ` +
      `(95% interval ${low.toFixed(0)} to ${high.toFixed(0)})`,
  );
  if (!(median >= TARGET_SCENES_A_SECOND)) {
    console.error(`expected at least ${TARGET_SCENES_A_SECOND} scenes a second`);
    process.exitCode = 1;
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}
