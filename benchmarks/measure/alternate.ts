import { setTimeout as sleep } from "node:timers/promises";

/** One of those that are measured in turn. */
export interface Contestant {
  name: string;
  threads: number;
  /** Milliseconds of all iterations together. */
  time(iterations: number): number | Promise<number>;
  /** Whether nobody works for it any more: threads may look for work long after a run. Default: true. */
  resting?(): boolean;
}

export interface Pace {
  /** What one sample should last; short runs are repeated for it. */
  sampleMs: number;
  /** Rounds go on until there are `mostRounds`, or until `budgetMs` are over and there are `leastRounds`. */
  leastRounds: number;
  mostRounds: number;
  budgetMs: number;
}
export const pace: Pace = { sampleMs: 10, leastRounds: 9, mostRounds: 30, budgetMs: 6000 };

// Threads of the one before that still spin for work would slow the next one down: OpenBLAS's do so for 2^28 cycles.
const settleMs = { least: 2, most: 1000 };

/** Waits until everyone rests, for a second at most. */
export async function settle(contestants: readonly Contestant[]): Promise<void> {
  const start = performance.now();
  await sleep(settleMs.least);
  const restless = (): boolean => contestants.some((contestant) => contestant.resting?.() === false);
  while (restless() && performance.now() - start < settleMs.most) await sleep(1);
}

/**
 * Milliseconds a run of every contestant, round by round, after a warm-up that does not count. The order rotates and
 * turns around, so that neither a drift of the machine nor a neighbour favours one of them.
 */
export async function alternate(contestants: readonly Contestant[], limits: Pace = pace): Promise<number[][]> {
  const plans: Plan[] = [];
  for (const contestant of contestants) {
    await settle(contestants);
    plans.push(await calibrate(contestant, limits.sampleMs));
  }
  const samples = contestants.map((): number[] => []);
  const start = performance.now();
  for (let round = 0; round < limits.mostRounds; round++) {
    if (round >= limits.leastRounds && performance.now() - start > limits.budgetMs) break;
    const rotated = contestants.map((_, i) => (i + (round >> 1)) % contestants.length);
    for (const i of round % 2 === 0 ? rotated : rotated.reverse()) {
      await settle(contestants);
      const { iterations, alone } = plans[i];
      if (alone) await contestants[i].time(1);
      samples[i].push((await contestants[i].time(iterations)) / iterations);
    }
  }
  return samples;
}

/** Samples that a warm-up lasts at least: code that is compiled while it runs is slow for its first hundreds of runs. */
const WARM_UP = 20;

/** A sample that is a single run wakes threads and fills caches by one before, unless it is so long that it is its own. */
const LONG_MS = 100;

interface Plan {
  iterations: number;
  /** Whether a sample is one run with another before it; contestants do that themselves for several. */
  alone: boolean;
}

// Runs that fill a sample, found by trying; also the warm-up.
async function calibrate(contestant: Contestant, sampleMs: number): Promise<Plan> {
  let spent = await contestant.time(1);
  for (let iterations = 1; ;) {
    const ms = await contestant.time(iterations);
    spent += ms;
    const fill = Math.min((iterations * sampleMs) / Math.max(ms, 1e-6), 1e6);
    const filled = ms >= sampleMs / 2 || iterations >= 1e6;
    if (filled && spent >= WARM_UP * sampleMs) {
      const enough = Math.max(1, Math.round(fill));
      return { iterations: enough, alone: enough === 1 && ms < iterations * LONG_MS };
    }
    iterations = Math.ceil(Math.min(fill, 100 * iterations));
  }
}
