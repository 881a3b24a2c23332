import { percent } from "@md/train";
import type { AblationRun } from "./results.js";

/** Values of one M over its seeds. */
export interface Spread {
  samples: number;
  low: number;
  mean: number;
  high: number;
}

/** Lowest, mean and highest value of each M, by ascending M. */
export function spreads(runs: readonly AblationRun[], value: (run: AblationRun) => number): Spread[] {
  const counts = [...new Set(runs.map(({ samples }) => samples))].sort((a, b) => a - b);
  return counts.map((samples) => {
    const values = runs.filter((run) => run.samples === samples).map(value);
    const mean = values.reduce((sum, each) => sum + each, 0) / values.length;
    return { samples, low: Math.min(...values), mean, high: Math.max(...values) };
  });
}

/** What is compared: the share of actions within 1 cm and 3°. */
const measures: readonly { name: string; value(run: AblationRun): number }[] = [
  { name: "after the last step", value: ({ curve }) => curve.at(-1)!.withinBoth },
  {
    name: "on average over training",
    value: ({ curve }) => curve.reduce((sum, { withinBoth }) => sum + withinBoth, 0) / curve.length,
  },
];

/** Beyond this M the paper finds no more gain (Section 5, Fig. 4), and no order is claimed. */
const LARGEST_CLAIMED = 64;

/**
 * Whether more samples M were better at equal gradient steps beyond the spread of seeds: the lowest seed of each M up to
 * 64 above the highest seed of the next smaller one. One sentence for each measure.
 */
export function statements(runs: readonly AblationRun[]): string[] {
  const claimed = runs.filter(({ samples }) => samples <= LARGEST_CLAIMED);
  const seeds = new Set(claimed.map(({ seed }) => seed)).size;
  if (new Set(claimed.map(({ samples }) => samples)).size < 2 || seeds < 2) {
    return [`No statement: that takes two values of M up to ${LARGEST_CLAIMED} and two seeds.`];
  }
  return measures.map(({ name, value }) => {
    const found = spreads(claimed, value).reverse();
    const claim = `M = ${found.map(({ samples }) => samples).join(" > ")} beyond the spread of ${seeds} seeds`;
    const missed = found.slice(1).flatMap((smaller, i) => {
      const larger = found[i]!;
      return larger.low > smaller.high ? [] : [`${describe(larger)} does not stand above ${describe(smaller)}`];
    });
    const subject = `share of unseen actions within 1 cm and 3° ${name}`;
    return missed.length === 0
      ? `${claim}: ${subject} is ${found.map(describe).join(", ")}.`
      : `It is not so that ${claim}, by the ${subject}: ${missed.join("; ")}.`;
  });
}

const describe = ({ samples, low, high }: Spread): string => `M = ${samples} (${percent(low)} to ${percent(high)})`;
