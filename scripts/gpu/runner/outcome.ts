import { renameSync, writeFileSync } from "node:fs";
import type { CaseResult } from "../../../benchmarks/measure/case.js";
import type { BenchDType } from "../../../benchmarks/options.js";

export type Status = "passed" | "failed" | "skipped";

/** One thing that a step looked at. */
export interface Entry {
  name: string;
  status: Status;
  /** Why it failed or was skipped. */
  reason?: string;
  /** Numbers of interest, times among them. */
  numbers?: Readonly<Record<string, number>>;
  /** What a benchmark measured. */
  measured?: { dtype: BenchDType; result: CaseResult };
}

/** What a step has found so far; whoever writes to it may be killed at any moment. */
export class Outcome {
  readonly entries: Entry[] = [];

  /** @param changed is called after each entry */
  constructor(private readonly changed: (entries: readonly Entry[]) => void = () => undefined) {}

  add(entry: Entry): void {
    this.entries.push(entry);
    this.changed(this.entries);
  }
}

export const count = (entries: readonly Entry[], status: Status): number =>
  entries.filter((entry) => entry.status === status).length;

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Never leaves half a file. */
export function writeJson(path: string, value: unknown): void {
  writeFileSync(`${path}.partial`, JSON.stringify(value, null, 1));
  renameSync(`${path}.partial`, path);
}
