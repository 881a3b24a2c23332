import type { DeviceName } from "@md/tensor";
import { type CaseResult, measureCase, OURS } from "../../../benchmarks/measure/case.js";
import { PeerProcess } from "../../../benchmarks/peers/peer-process.js";
import type { BenchCase } from "../../../benchmarks/suite.js";
import { attentionSuite } from "../../../benchmarks/suites/attention.js";
import { elementwiseSuite } from "../../../benchmarks/suites/elementwise.js";
import { gemmSuite } from "../../../benchmarks/suites/gemm.js";
import { normSuite } from "../../../benchmarks/suites/norm.js";
import { optimizerSuite } from "../../../benchmarks/suites/optimizer.js";
import { type Entry, messageOf, type Outcome } from "./outcome.js";

const suites = [gemmSuite, attentionSuite, normSuite, elementwiseSuite, optimizerSuite];
// Of the suites, what a training step spends its time on.
const wanted =
  /(4000×288×72|4000×36×108|6400×72×288)$|^Level-2, forward|^(layerNorm|softmax|gelu)\b.*(4000×288|4\.6 MB|128 MiB)|^AdamW/;
const pace = { sampleMs: 20, leastRounds: 5, mostRounds: 15, budgetMs: 1000 };

/** The cases that are timed, each with the name of its suite. */
export const benchmarkCases: readonly { suite: string; bench: BenchCase }[] = suites.flatMap(({ name, cases }) =>
  cases.filter((bench) => wanted.test(bench.name)).map((bench) => ({ suite: name, bench })),
);

/** Times ours and PyTorch's on `device` in turn; without PyTorch, ours alone. A wrong result fails and is not timed. */
export async function benchmark(device: DeviceName, peer: string, outcome: Outcome): Promise<void> {
  const peers: PeerProcess[] = [];
  try {
    const args = ["-B", peer, "1", device];
    peers.push(await PeerProcess.start({ name: "torch", command: "python3", args, env: {} }));
  } catch (error) {
    outcome.add({ name: "PyTorch", status: "skipped", reason: messageOf(error) });
  }
  const around = { device, threads: [1], peers, ceilings: new Map(), pace };
  for (const { suite, bench } of benchmarkCases)
    outcome.add(entryOf(await measureCase(suite, { ...bench, threads: "one", metrics: undefined }, around)));
  for (const peer of peers) await peer.close();
}

function entryOf({ name, failure, timings, speedups, unable, flops, bytes }: CaseResult): Entry {
  if (failure !== null)
    return { name, status: failure.includes("has no CUDA kernel") ? "skipped" : "failed", reason: failure };
  const numbers: Record<string, number> = {};
  for (const timing of timings) numbers[`${timing.name === OURS ? "ours" : timing.name} ms`] = timing.ms.median;
  const { median } = timings.find((timing) => timing.name === OURS)!.ms;
  if (flops !== null) numbers["GFLOP/s"] = flops / median / 1e6;
  if (bytes !== null) numbers["GB/s"] = bytes / median / 1e6;
  for (const { over, ratio } of speedups) numbers[`times ${over}`] = ratio.median;
  return { name, status: "passed", numbers, ...(unable.length > 0 ? { reason: unable.join("; ") } : {}) };
}
