import { execFileSync } from "node:child_process";
import { cpus, totalmem } from "node:os";
import { getNumThreads, isa } from "@md/tensor";
import { compile } from "../compile.js";
import { PeerProcess } from "../peers/peer-process.js";
import { COPY } from "./names.js";

/** The most that this machine does with some number of threads; see ceilings.c. */
export interface Ceiling {
  /** GFLOP/s of multiply-adds in registers. */
  gflops: number;
  /** GB/s read and written by a copy out of cache. */
  gbs: number;
}

export interface Machine {
  processor: string;
  cores: number;
  memoryBytes: number;
  isa: string;
  node: string;
}

export const describeMachine = (): Machine => ({
  processor: cpus()[0]?.model.trim() ?? "unknown processor",
  cores: getNumThreads(),
  memoryBytes: totalmem(),
  isa: isa(),
  node: process.version,
});

/** Measures the ceilings, by number of threads. Error where there is no C compiler. */
export function measureCeilings(threadCounts: readonly number[]): Map<number, Ceiling> {
  const program = compileCeilings();
  return new Map(
    threadCounts.map((threads) => {
      const line = execFileSync(program, [String(threads)], { encoding: "utf8" });
      const [, fma, copy] = /fma=(\S+) copy=(\S+)/.exec(line)!;
      return [threads, { gflops: Number(fma), gbs: Number(copy) }];
    }),
  );
}

/** Starts the copy of the ceilings, to be measured in turn with a kernel: with each number of threads a process. */
export const startCopies = (threadCounts: readonly number[]): Promise<PeerProcess[]> => {
  const command = compileCeilings();
  return Promise.all(
    threadCounts.map((threads) =>
      PeerProcess.start({ name: COPY, command, args: [String(threads), "serve"], env: {} }),
    ),
  );
};

function compileCeilings(): string {
  const flags = ["-mprefer-vector-width=512", "-ffp-contract=fast", "-pthread"];
  return compile("ceilings", ["measure/ceilings.c"], process.arch === "x64" ? flags : flags.slice(1));
}
