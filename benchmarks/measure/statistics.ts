import { mulberry32 } from "@md/tensor";

/** A median and its 95% interval (bootstrap). */
export interface Interval {
  median: number;
  low: number;
  high: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function interval(values: readonly number[]): Interval {
  const random = mulberry32(1);
  const resampled = Array.from({ length: 1000 }, () =>
    median(values.map(() => values[Math.floor(random() * values.length)])),
  ).sort((a, b) => a - b);
  return { median: median(values), low: resampled[25], high: resampled[974] };
}

/** Of a / b, round by round: what slows a whole round down cancels. */
export const ratioInterval = (a: readonly number[], b: readonly number[]): Interval =>
  interval(a.map((value, i) => value / b[i]));
