import type { CaseResult, Timing } from "../measure/case.js";
import type { Ceiling, Machine } from "../measure/machine.js";
import { FIRST, OURS } from "../measure/names.js";
import type { AbsentPeer } from "../peers/registry.js";
import type { PeerProcess } from "../peers/peer-process.js";
import type { Scored } from "../score.js";

const threadName = (threads: number): string => (threads === 1 ? "1 thread" : `${threads} threads`);

/** 1.234 ms, 12.3 µs or 1.23 s: three or four digits. */
export function duration(ms: number): string {
  if (ms < 0.1) return `${(1000 * ms).toPrecision(3)} µs`;
  return ms < 1000 ? `${ms.toPrecision(4)} ms` : `${(ms / 1000).toPrecision(4)} s`;
}

/** GFLOP/s where FLOP are known, else GB/s; empty for who computes less. */
export function rate({ flops, bytes }: CaseResult, { name, ms: { median: ms } }: Timing): string {
  if (name === FIRST) return "";
  if (flops !== null) return `${(flops / ms / 1e6).toPrecision(3)} GFLOP/s`;
  return bytes === null ? "" : `${(bytes / ms / 1e6).toPrecision(3)} GB/s`;
}

export const percent = (share: number | null): string => (share === null ? "" : `${(100 * share).toFixed(0)}%`);

/** How many times faster we are than this contestant, with its interval; empty for ourselves. */
export function speedup({ speedups }: CaseResult, { name, threads }: Timing): string {
  const found = speedups.find((one) => one.over === name && one.threads === threads);
  if (!found) return "";
  const { median, low, high } = found.ratio;
  return `${median.toFixed(2)}x [${low.toFixed(2)}, ${high.toFixed(2)}]`;
}

/** Of multiply-adds in registers, a thread: cores that nobody else uses lose little of it to each other. */
const leastScaling = 0.75;

export function machineLines(
  machine: Machine,
  ceilings: ReadonlyMap<number, Ceiling> | string,
  peers: readonly PeerProcess[],
  absent: readonly AbsentPeer[],
): string[] {
  const { processor, cores, memoryBytes, isa, node } = machine;
  const lines = [`${processor}, ${cores} cores, ${(memoryBytes / 2 ** 30).toFixed(0)} GiB, ${isa}, Node ${node}`];
  if (typeof ceilings === "string") lines.push(`ceilings not measured: ${ceilings}`);
  else
    for (const [threads, { gflops, gbs }] of ceilings) {
      lines.push(`ceiling, ${threadName(threads)}: ${gflops.toFixed(0)} GFLOP/s, copy ${gbs.toFixed(1)} GB/s`);
      const scaling = gflops / (ceilings.get(1)?.gflops ?? NaN);
      if (scaling < leastScaling * threads)
        lines.push(`  only ${scaling.toFixed(2)}x of one thread's: other work was running, shares are too high`);
    }
  for (const { name, version, isa, threads } of peers)
    lines.push(`peer ${[`${name} ${version}`, isa, threadName(threads)].filter(Boolean).join(", ")}`);
  for (const { name, why, howToGet } of absent) lines.push(`peer ${name} is absent (${why}): ${howToGet}`);
  return lines;
}

/** A case as a heading and a line a contestant. */
export function caseLines(result: CaseResult): string[] {
  const { suite, name, failure, timings, metrics, memory, reproducible, unable } = result;
  const lines = [`${suite}: ${name}`];
  if (failure !== null) return [...lines, `  FAILED ${failure}`];
  for (const timing of [...timings].sort((a, b) => a.threads - b.threads)) {
    const { name: who, threads, ms, share, variant } = timing;
    const cells = [
      (who === OURS ? threadName(threads) : "").padEnd(10),
      who.padEnd(24),
      duration(ms.median).padStart(9),
      rate(result, timing).padStart(14),
      percent(share).padStart(5),
      speedup(result, timing).padStart(20),
      variant,
    ];
    lines.push(`  ${cells.join("  ")}`.trimEnd());
  }
  const notes = metrics.map(({ name: what, value, unit }) => `${what} ${value.toPrecision(4)} ${unit}`);
  notes.push(`${(memory.extra / 1e6).toFixed(2)} MB beside ${(memory.io / 1e6).toFixed(2)} MB of inputs and outputs`);
  if (!reproducible) notes.push("NOT THE SAME BITS run after run");
  lines.push(`  ${[...notes, ...unable].join("; ")}`);
  return lines;
}

export function verdict({ met, ran }: Scored): string {
  if (!ran) return "not run";
  return met === null ? "not judged" : met ? "met" : "MISSED";
}

/** Of the targets whose cases ran; the last line names the others. */
export function targetLines(scored: readonly Scored[]): string[] {
  return scored.filter(({ ran }) => ran).map((one) => `  ${verdict(one).padEnd(10)}  ${one.sentence}: ${one.text}`);
}
