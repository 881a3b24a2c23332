import { synchronize } from "./memory.js";
import type { Tensor } from "./tensor.js";

/** One op's share of a profile: number of calls, milliseconds until the CPU had done them, bytes of its outputs. */
export interface ProfileRow {
  op: string;
  calls: number;
  ms: number;
  bytes: number;
}

/** What {@link profile} measured: rows by falling time. */
export class Profile {
  private readonly byOp = new Map<string, ProfileRow>();

  /** The time at which a call begins, once the CPU has done what was called before: that is nobody's share. */
  begin(): number {
    synchronize("cpu");
    return performance.now();
  }

  /** A call that began at `start` and has returned; waits until the CPU has done it. */
  add(op: string, start: number, outputs: readonly Tensor[]): void {
    synchronize("cpu");
    const ms = performance.now() - start;
    let row = this.byOp.get(op);
    if (!row) this.byOp.set(op, (row = { op, calls: 0, ms: 0, bytes: 0 }));
    row.calls++;
    row.ms += ms;
    for (const output of outputs) row.bytes += output.resource.bytes;
  }

  get rows(): ProfileRow[] {
    return [...this.byOp.values()].sort((a, b) => b.ms - a.ms);
  }

  toString(): string {
    const lines = ["op                        calls          ms          MB"];
    for (const { op, calls, ms, bytes } of this.rows) {
      lines.push(
        `${op.padEnd(22)}${String(calls).padStart(9)}${ms.toFixed(2).padStart(12)}${(bytes / 1e6).toFixed(2).padStart(12)}`,
      );
    }
    return lines.join("\n");
  }
}

let active: Profile | null = null;
export const activeProfile = (): Profile | null => active;

/** Runs `body` and returns its result beside a table by op: calls, milliseconds, bytes of the outputs. */
export function profile<T>(body: () => T): { result: T; profile: Profile } {
  const outer = active;
  const measured = new Profile();
  active = measured;
  try {
    return { result: body(), profile: measured };
  } finally {
    active = outer;
  }
}
