import { mulberry32 } from "@md/tensor";

/** Ratio of two things measured in turn: its median and the 95% interval of that median (bootstrap). */
export interface PairedRatio {
  pairs: number;
  medianA: number;
  medianB: number;
  ratio: number;
  low: number;
  high: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Runs a and b in turn, `pairs` times after `warmup` rounds that do not count; both return what they measured (ms). */
export function paired(a: () => number, b: () => number, { pairs = 30, warmup = 3 } = {}): PairedRatio {
  const first: number[] = [];
  const second: number[] = [];
  for (let i = -warmup; i < pairs; i++) {
    // The order alternates too, so that a drift of the machine does not favour one of them.
    const order = i % 2 === 0 ? [a, b] : [b, a];
    const [x, y] = order.map((run) => run()) as [number, number];
    if (i < 0) continue;
    first.push(i % 2 === 0 ? x : y);
    second.push(i % 2 === 0 ? y : x);
  }
  const ratios = first.map((value, i) => value / second[i]!);
  const random = mulberry32(1);
  const resampled = Array.from({ length: 1000 }, () =>
    median(ratios.map(() => ratios[Math.floor(random() * ratios.length)]!)),
  ).sort((x, y) => x - y);
  return {
    pairs,
    medianA: median(first),
    medianB: median(second),
    ratio: median(ratios),
    low: resampled[25]!,
    high: resampled[974]!,
  };
}

/** Milliseconds of one call. */
export function timed(body: () => unknown): number {
  const start = performance.now();
  body();
  return performance.now() - start;
}
