import {
  cast,
  type DeviceName,
  getNumThreads,
  memory,
  resetPeakMemory,
  scope,
  setNumThreads,
  synchronize,
  type Tensor,
} from "@md/tensor";
import type { PeerProcess } from "../peers/peer-process.js";
import type { HostTensor } from "../peers/protocol.js";
import type { BenchDType } from "../options.js";
import { type BenchCase, type Bind, type Metric, onDevice } from "../suite.js";
import { alternate, type Contestant, type Pace, settle } from "./alternate.js";
import { requireSame, sameBits, WrongResult } from "./compare.js";
import type { Ceiling } from "./machine.js";
import { COPY, FIRST, OURS } from "./names.js";
import { type Interval, interval, ratioInterval } from "./statistics.js";

export interface Timing {
  name: string;
  threads: number;
  ms: Interval;
  /** Of the machine's ceiling, whichever of FLOP and bytes binds; null where neither is known. */
  share: number | null;
  /** The peer's own way that it found fastest, if it has several. */
  variant: string;
}
/** How many times faster we are than `name`. */
export interface Speedup {
  over: string;
  threads: number;
  ratio: Interval;
}

export interface CaseResult {
  suite: string;
  name: string;
  countsFor: readonly string[];
  curve: { name: string; x: number } | null;
  flops: number | null;
  bytes: number | null;
  /** Why it was not timed, or null. */
  failure: string | null;
  timings: Timing[];
  speedups: Speedup[];
  /** Time with 1 thread over time with the most, by contestant. */
  scalings: { name: string; ratio: Interval }[];
  /** Bytes of inputs and outputs, and what the allocator held at most beside them. */
  memory: { io: number; extra: number };
  /** Two runs gave the same bits, with every number of threads. */
  reproducible: boolean;
  metrics: Metric[];
  /** Peers that know the op but could not compute it, and why. */
  unable: string[];
}

export interface Surroundings {
  /** Where inputs lie, and so where we compute; peers choose for themselves. Default "cpu". */
  device?: DeviceName;
  /** What floats of the inputs are given in. Default f32; bf16 is held to what it can hold of f64 and of a peer. */
  dtype?: BenchDType;
  threads: readonly number[];
  /** Running peers, each with its number of threads. */
  peers: readonly PeerProcess[];
  /** Copies of `startCopies`, which memory-bound cases are measured in turn with. Default: none. */
  copies?: readonly PeerProcess[];
  ceilings: ReadonlyMap<number, Ceiling>;
  pace: Pace;
}

/** Of a patient case, as multiples of the rounds that others take at most. */
const PATIENT_ROUNDS = 2;
/** A scaling is the ratio of two times that neighbours disturb apart: it takes more rounds than times do. */
const SCALING_ROUNDS = 8;

/** Whether a case is judged beside a copy. */
export const boundByMemory = ({ countsFor = [] }: BenchCase): boolean => countsFor.includes("memory-bound");

/** Checks a case, then measures it; a case that fails is reported in its result. */
export async function measureCase(suite: string, bench: BenchCase, around: Surroundings): Promise<CaseResult> {
  const result: CaseResult = {
    suite,
    name: bench.name,
    countsFor: bench.countsFor ?? [],
    curve: bench.curve ?? null,
    flops: bench.flops ?? null,
    bytes: bytesOf(bench, around.dtype) ?? null,
    failure: null,
    timings: [],
    speedups: [],
    scalings: [],
    memory: { io: 0, extra: 0 },
    reproducible: true,
    metrics: [],
    unable: [],
  };
  const before = getNumThreads();
  try {
    await scope.async(() => measure(bench, around, result));
  } catch (error) {
    result.failure = error instanceof Error ? error.message : String(error);
  } finally {
    setNumThreads(before);
  }
  return result;
}

async function measure(bench: BenchCase, around: Surroundings, result: CaseResult): Promise<void> {
  const { one, most } = { one: around.threads.slice(0, 1), most: around.threads.slice(-1) };
  const { device = "cpu", dtype = "f32" } = around;
  const threadCounts = bench.threads === undefined ? around.threads : { one, most }[bench.threads];
  const host = bench.inputs?.() ?? [];
  const inputs = onDevice(host, device, dtype);
  const tolerance = toleranceOf(bench, dtype);
  const outputs = check({ ...bench, tolerance }, inputs, threadCounts, result, device);

  const contestants: (Contestant & { variant?: string })[] = [];
  for (const threads of threadCounts) {
    contestants.push(ours(OURS, bench.bind, inputs, threads, device));
    if (bench.baseline) contestants.push(ours(bench.baseline.name, bench.baseline.bind, inputs, threads, device));
  }
  const { peer } = bench;
  const opponents = around.peers.filter(({ threads }) => threadCounts.includes(threads));
  const knowing = peer ? opponents.filter((opponent) => opponent.knows(peer.op)) : [];
  const copies = boundByMemory(bench) ? (around.copies ?? []) : [];
  try {
    for (const copy of copies.filter(({ threads }) => threadCounts.includes(threads))) {
      const { variant } = await copy.prepare(COPY, { moved: bytesOf(bench, dtype)! }, []);
      contestants.push(contestantOf(copy, variant));
    }
    for (const opponent of knowing) {
      await settle(contestants); // it tries out its ways of computing the op
      const prepared = await opponent.prepare(peer!.op, peer!.params ?? {}, host).catch((error: Error) => {
        result.unable.push(error.message);
      });
      if (!prepared) continue;
      requireSame(`beside ${opponent.name}`, outputs, prepared.outputs, tolerance);
      contestants.push(contestantOf(opponent, prepared.variant));
    }
    await settle(contestants);
    result.metrics = (await bench.metrics?.(knowing.map(({ name }) => name))) ?? [];
    const { pace } = around;
    const samples = await alternate(contestants, bench.patient ? inRounds(PATIENT_ROUNDS, pace) : pace);
    summarise({ ...bench, bytes: bytesOf(bench, dtype) }, contestants, samples, around.ceilings, result);
    const { scalesBeside } = bench;
    if (scalesBeside === undefined) {
      result.scalings = scalings(contestants, samples);
    } else {
      const rivals = contestants.filter(({ name }) => name === OURS || name === scalesBeside);
      result.scalings = scalings(rivals, await alternate(rivals, inRounds(SCALING_ROUNDS, pace)));
    }
  } finally {
    for (const opponent of knowing) if (opponent.knows(peer!.op)) await opponent.release();
  }
}

function inRounds(times: number, pace: Pace): Pace {
  const rounds = times * pace.mostRounds;
  return { ...pace, leastRounds: rounds, mostRounds: rounds };
}

// A sum of bf16 numbers is rounded to 8 bits, and so are the numbers in between.
const toleranceOf = ({ tolerance = 1e-4 }: BenchCase, dtype: BenchDType): number =>
  dtype === "f32" ? tolerance : Math.max(tolerance, 2 ** -5);
const bytesOf = ({ bytes }: BenchCase, dtype: BenchDType = "f32"): number | undefined =>
  bytes === undefined || dtype === "f32" ? bytes : bytes / 2;

/** Compares with f64 and with the baseline, run against run; measures memory. Returns the outputs. */
function check(
  bench: BenchCase,
  inputs: readonly Tensor[],
  threadCounts: readonly number[],
  result: CaseResult,
  device: DeviceName,
): HostTensor[] {
  const { bind, baseline, tolerance = 1e-4 } = bench;
  let outputs: HostTensor[] = [];
  for (const threads of threadCounts) {
    setNumThreads(threads);
    outputs = runOnce(bind, inputs);
    result.reproducible &&= sameBits(outputs, runOnce(bind, inputs));
  }
  result.memory = measureMemory(bind, inputs, device);
  for (const { data } of outputs) {
    if (data instanceof Float32Array && !data.every(Number.isFinite))
      throw new WrongResult("found a number that is not finite in the result");
  }
  if (inputs.length > 0) {
    const exact = scope(() =>
      runOnce(
        bind,
        inputs.map((x) => (x.dtype === "f32" || x.dtype === "bf16" ? cast(x, "f64") : x)),
      ),
    );
    requireSame("beside f64", outputs, exact, tolerance);
  }
  if (baseline?.sameResult) requireSame(`beside ${baseline.name}`, runOnce(baseline.bind, inputs), outputs, tolerance);
  return outputs;
}

const runOnce = (bind: Bind, inputs: readonly Tensor[]): HostTensor[] =>
  scope(() => bind(inputs)().map((x) => ({ shape: x.shape, data: (x.dtype === "bf16" ? cast(x, "f32") : x).data() })));

function measureMemory(bind: Bind, inputs: readonly Tensor[], device: DeviceName): CaseResult["memory"] {
  const sizeOf = (tensors: readonly Tensor[]): number =>
    tensors.reduce((sum, x) => sum + x.size * itemBytes[x.dtype], 0);
  return scope(() => {
    const run = bind(inputs);
    const before = memory(device).liveBytes;
    resetPeakMemory(device);
    const outputs = sizeOf(run());
    // Outputs that were updated in place were live before.
    return { io: sizeOf(inputs) + outputs, extra: Math.max(0, memory(device).peakBytes - before - outputs) };
  });
}
const itemBytes = { f32: 4, f64: 8, i32: 4, i64: 8, u8: 1, bool: 1, f16: 2, bf16: 2 } as const;

function ours(name: string, bind: Bind, inputs: readonly Tensor[], threads: number, device: DeviceName): Contestant {
  const run = bind(inputs);
  const once = (): void => scope(() => void run());
  return {
    name,
    threads,
    time(iterations) {
      if (getNumThreads() !== threads) setNumThreads(threads);
      if (iterations > 1) once();
      synchronize(device);
      const start = performance.now();
      for (let i = 0; i < iterations; i++) once();
      synchronize(device);
      return performance.now() - start;
    },
  };
}

const contestantOf = (process: PeerProcess, variant: string): Contestant & { variant: string } => ({
  name: process.name,
  threads: process.threads,
  variant,
  time: (iterations) => process.time(iterations),
  resting: () => process.resting(),
});

function summarise(
  { flops = 0, bytes = 0 }: BenchCase,
  contestants: readonly (Contestant & { variant?: string })[],
  samples: readonly number[][],
  ceilings: ReadonlyMap<number, Ceiling>,
  result: CaseResult,
): void {
  contestants.forEach(({ name, threads, variant = "" }, i) => {
    const ms = interval(samples[i]);
    const ceiling = ceilings.get(threads);
    const bound = ceiling ? Math.max(flops / (ceiling.gflops * 1e6), bytes / (ceiling.gbs * 1e6)) : 0;
    const share = bound > 0 && name !== FIRST ? bound / ms.median : null;
    result.timings.push({ name, threads, ms, share, variant });
    const us = contestants.findIndex((other) => other.name === OURS && other.threads === threads);
    if (name !== OURS) result.speedups.push({ over: name, threads, ratio: ratioInterval(samples[i], samples[us]) });
  });
}

/** Of those that ran with the fewest and with the most threads. */
function scalings(contestants: readonly Contestant[], samples: readonly number[][]): CaseResult["scalings"] {
  const [fewest, most] = [Math.min, Math.max].map((pick) => pick(...contestants.map(({ threads }) => threads)));
  return contestants.flatMap(({ name, threads }, i) => {
    const many = contestants.findIndex((other) => other.name === name && other.threads === most);
    const comparable = threads === fewest && most > fewest && many >= 0;
    return comparable ? [{ name, ratio: ratioInterval(samples[i], samples[many]) }] : [];
  });
}
