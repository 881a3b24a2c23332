import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { getPolicy, type PolicyBatch } from "@md/diffusion";
import { Generator } from "@md/tensor";
import {
  batchLoader,
  batchSource,
  createPolicy,
  dataStatistics,
  listEpisodes,
  loadDataset,
  parseOverride,
  readPreset,
  resolveConfig,
  resolveModel,
  Trainer,
} from "@md/train";
import { writeLotusDataset } from "../../packages/rlbench-data/test/support/lotus-dataset.js";
import { interval, ratioInterval } from "../measure/statistics.js";

// How long steps of the reduced Mini-Diffuser wait for data, in turn with steps on batches that are there already:
// node … train-waits.ts [ROUNDS] [KEY=VALUE …]
const [rounds, ...overrides] = [process.argv[2] ?? "12", ...process.argv.slice(3)];
const STEPS = 4;
const MOST_WAITING = 0.05;
const MOST_STEP = 1.1;

/** A trainer whose batches come in one of the ways that are compared. */
interface Contestant {
  name: string;
  trainer: Trainer;
  /** Seconds a step, and of it seconds that it waited for data; one of each a round. */
  steps: number[];
  waits: number[];
  /** Seconds of processor time a step, which other programs on the machine disturb less. */
  cpu: number[];
}

const root = mkdtempSync(join(tmpdir(), "train-waits-"));
try {
  writeLotusDataset({ root, tasks: 2, episodes: 5, steps: 6, points: 10_000 });
  const layers = [
    readPreset("mini-diffuser"),
    parseOverride("training.maxMinutes=null"),
    ...overrides.map(parseOverride),
  ];
  const factory = getPolicy(resolveModel(layers));
  const config = resolveConfig(layers, factory.defaults);
  const dataset = await loadDataset(listEpisodes({ root }), config.data);
  const direct = batchSource(dataset, config);
  const loader = batchLoader(dataset, { ...config, data: { ...config.data, workers: 1 } });
  const ready = Array.from({ length: 2 * STEPS }, (_, index) => direct(index));
  const contestant = (name: string, nextBatch: (index: number) => PolicyBatch | Promise<PolicyBatch>): Contestant => ({
    name,
    trainer: new Trainer({
      policy: createPolicy(factory, config, dataStatistics(dataset, config.data), ready[0]),
      nextBatch,
      optimizer: config.optimizer,
      training: config.training,
      generator: new Generator(config.seed).fork("noise"),
    }),
    steps: [],
    waits: [],
    cpu: [],
  });
  const contestants = [
    contestant("batches that are there", (index) => ready[index % ready.length]),
    contestant("one worker", (index) => loader.batch(index)),
    contestant("no worker", direct),
  ];
  // The first round is the warm-up.
  for (let round = 0; round <= Number(rounds); round++) {
    for (const { trainer, steps, waits, cpu } of round % 2 === 0 ? contestants : contestants.toReversed()) {
      let waited = 0;
      const start = performance.now();
      const before = process.cpuUsage();
      for (let step = 0; step < STEPS; step++) {
        waited += (await trainer.trainStep()).dataSeconds;
        await setImmediate();
      }
      if (round === 0) continue;
      steps.push((performance.now() - start) / 1000 / STEPS);
      waits.push(waited / STEPS);
      const { user, system } = process.cpuUsage(before);
      cpu.push((user + system) / 1e6 / STEPS);
    }
  }
  await loader.close();
  for (const { name, steps, waits, cpu } of contestants) {
    const ratio = ratioInterval(steps, contestants[0].steps);
    const work = ratioInterval(cpu, contestants[0].cpu);
    console.log(
      `${name}: ${(1000 * interval(steps).median).toFixed(1)} ms a step, ${ratio.median.toFixed(3)}x ` +
        `(95% interval ${ratio.low.toFixed(3)} to ${ratio.high.toFixed(3)}), ` +
        `processor time ${work.median.toFixed(3)}x (${work.low.toFixed(3)} to ${work.high.toFixed(3)}), ` +
        `waits ${(100 * ratioInterval(waits, steps).median).toFixed(2)}% of it`,
    );
  }
  const [, { steps, waits }] = contestants;
  const waiting = ratioInterval(waits, steps).median;
  const cost = ratioInterval(steps, contestants[0].steps).median;
  if (!(waiting < MOST_WAITING && cost <= MOST_STEP)) {
    console.error(`expected with one worker less than ${MOST_WAITING} of a step, and at most ${MOST_STEP}x`);
    process.exitCode = 1;
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}
