// The cost columns of the paper's Table 3 (Section B.3), as ratios to M = 1: npm run bench:table3 [-- --memory]
import { DiffuserActor, MiniDiffuserLight, type Policy, type PolicyBatch } from "@md/diffusion";
import { Generator, getNumThreads, synchronize } from "@md/tensor";
import { formatTable } from "@md/train";
import { parseArgs } from "node:util";
import { alternate } from "./measure/alternate.js";
import { describeMachine } from "./measure/machine.js";
import { fitLine, misfit } from "./measure/fits.js";
import { ratioInterval } from "./measure/statistics.js";
import { fullPolicy, peakBytesOfSteps, policySteps } from "./policy-step.js";
import { surfaceBatch } from "./scenes.js";

/** A row: what is trained, and on how many times as many scenes. */
interface Row {
  name: string;
  create(): Policy;
  times?: number;
}

const points = 4000;
/** Memory of the card that the paper trains on. */
const budgetBytes = 24 * 2 ** 30;
/** Numbers of scenes at which memory is measured; it is extrapolated along the line through them. */
const measuredScenes = [1, 2, 4];
/** B of the times, and how they are taken. */
const timedScenes = 2;
const pace = { sampleMs: 0, leastRounds: 5, mostRounds: 30, budgetMs: 60_000 };
/** What memory may be off the line. */
const mostOff = 0.02;

const options = { instructionDim: surfaceBatch(1, 1).instructionDim };
const create = (config: Parameters<typeof fullPolicy>[0]) => (): Policy => fullPolicy({ ...options, ...config });
const generator = (): { generator: Generator } => ({ generator: new Generator(1) });
const first: Row = { name: "M = 1", create: create({ samples: 1 }) };
const whole: Row = { name: "M = 64", create: create({}) };
const rows: readonly Row[] = [
  first,
  whole,
  { name: "2B, M = 1", create: create({ samples: 1 }), times: 2 },
  { name: "M = 64, without 3D RoPE", create: create({ ropeScale: 0 }) },
  { name: "M = 64, without PTv3 backbone and head", create: () => new DiffuserActor(options, generator()) },
  { name: "M = 64, without local kernel query", create: create({ localQuery: false }) },
  { name: "M = 64, Mini-Diffuser light", create: () => new MiniDiffuserLight(options, generator()) },
];

/** Bytes a scene and bytes at none. Error where measured memory is off a straight line. */
function memoryLaw({ name, create }: Row, batches: readonly PolicyBatch[]): { intercept: number; slope: number } {
  const measured = batches.map((batch) => [batch.size, peakBytesOfSteps(create, batch)] as const);
  const off = misfit(measured);
  if (!(off <= mostOff)) throw new Error(`memory of "${name}" is ${(100 * off).toFixed(1)}% off a straight line`);
  return fitLine(measured);
}

function flagsOrEnd(): { memory?: boolean } {
  try {
    return parseArgs({ options: { memory: { type: "boolean" } } }).values;
  } catch (error) {
    console.error(`${(error as Error).message}\n\nusage: npm run bench:table3 [-- --memory]`);
    process.exit(2);
  }
}

const flags = flagsOrEnd();
const { processor, isa } = describeMachine();
console.log(`${processor}, ${isa}, ${getNumThreads()} threads, ${points} points a scene`);

const batches = measuredScenes.map((size) => surfaceBatch(size, points));
const laws = new Map(rows.filter(({ times }) => !times).map((row) => [row, memoryLaw(row, batches)]));
const lawOf = (row: Row): { intercept: number; slope: number } => laws.get(row) ?? laws.get(first)!;
const bytesAt = (row: Row, scenes: number): number => {
  const { intercept, slope } = lawOf(row);
  return intercept + slope * scenes * (row.times ?? 1);
};
const { intercept, slope } = lawOf(whole);
const largest = Math.floor((budgetBytes - intercept) / slope);

const samples = flags.memory ? null : await alternate(rows.map(contestant), pace);
function contestant({ name, create, times = 1 }: Row): Parameters<typeof alternate>[0][number] {
  const { step } = policySteps(create(), surfaceBatch(times * timedScenes, points));
  return {
    name,
    threads: getNumThreads(),
    time(iterations) {
      const start = performance.now();
      for (let i = 0; i < iterations; i++) step();
      synchronize("cpu");
      return performance.now() - start;
    },
  };
}

const percent = (ratio: number): string => `${(100 * ratio).toFixed(1)}%`;
const table = rows.map((row, i) => {
  const time = samples ? [ratioInterval(samples[i], samples[0])] : [];
  return [
    row.name,
    percent(bytesAt(row, largest) / bytesAt(first, largest)),
    ...time.flatMap(({ median, low, high }) => [percent(median), `${percent(low)} to ${percent(high)}`]),
    `${(lawOf(row).intercept / 1e6).toFixed(0)} + ${(lawOf(row).slope / 1e6).toFixed(0)} B`,
  ];
});
console.log(
  `Memory at B = ${largest}, the most that fits 24 GiB with M = 64, extrapolated from B = ${measuredScenes.join(", ")}; ` +
    `time of a training step at B = ${timedScenes}, median of ratios within a round and its 95% interval.\n`,
);
const timed = samples ? [`time, B = ${timedScenes}`, "95%"] : [];
console.log(formatTable({ titles: ["", `memory, B = ${largest}`, ...timed, "MB"], rows: table }));
