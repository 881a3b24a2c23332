import type { CaseResult } from "./measure/case.js";
import { geometricMean, growth, misfit, type Points } from "./measure/fits.js";
import { COPY, FIRST, OURS } from "./measure/names.js";

/** A target's number beside what it has to be; `met` is null where it cannot be judged, and `text` says why. */
export interface Verdict {
  met: boolean | null;
  text: string;
}
export type Judge = (results: readonly CaseResult[]) => Verdict;

/** A number of one kind for every number of threads, ascending. */
interface ByThreads {
  threads: number;
  value: number;
}

const unjudged = (text: string): Verdict => ({ met: null, text });
const threadName = (threads: number): string => (threads === 1 ? "1 thread" : `${threads} threads`);
const round = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));

// Judged with the most threads: what is asked is asked of the whole machine. The others are told beside it.
function atLeast(values: readonly ByThreads[], least: number, unit = ""): Verdict {
  const most = values.at(-1);
  return {
    // NaN is not met.
    met: most !== undefined && most.value >= least,
    text: values.map(({ threads, value }) => `${round(value)}${unit} with ${threadName(threads)}`).join(", "),
  };
}

const threadCounts = (results: readonly CaseResult[]): number[] =>
  [...new Set(results.flatMap(({ timings }) => timings.map(({ threads }) => threads)))].sort((a, b) => a - b);

// Our speed over the fastest of `peers`, case by case; null where one of them is missing.
function speedups(results: readonly CaseResult[], peers: readonly string[], threads: number): number[] | null {
  const found = results.map(({ speedups }) =>
    peers.map((peer) => speedups.find((one) => one.over === peer && one.threads === threads)?.ratio.median),
  );
  if (found.flat().includes(undefined)) return null;
  return found.map((ratios) => Math.min(...(ratios as number[])));
}

function bySpeedup(peers: readonly string[], least: number, merge: (values: number[]) => number): Judge {
  return (results) => {
    const values: ByThreads[] = [];
    for (const threads of threadCounts(results)) {
      const ratios = speedups(results, peers, threads);
      if (ratios === null) return unjudged(`needs ${peers.join(" and ")}`);
      values.push({ threads, value: merge(ratios) });
    }
    return atLeast(values, least, "x");
  };
}

export const geometricSpeedup = (peers: readonly string[], least: number): Judge =>
  bySpeedup(peers, least, geometricMean);
export const worstSpeedup = (peers: readonly string[], least: number): Judge =>
  bySpeedup(peers, least, (ratios) => Math.min(...ratios));
/** The baseline is in our own library: always there. */
export const baselineSpeedup = (baseline: string, least: number): Judge => worstSpeedup([baseline], least);

/** Our time over the baseline's. */
export const atMost =
  (baseline: string, most: number): Judge =>
  (results) => {
    const [threads] = threadCounts(results).slice(-1);
    const cost = 1 / Math.min(...(speedups(results, [baseline], threads) ?? []));
    return { met: cost <= most, text: `${cost.toFixed(3)}x` };
  };

export const metricBelow =
  (name: string, limit: number): Judge =>
  (results) => {
    const found = results.flatMap(({ metrics }) => metrics.filter((metric) => metric.name === name));
    if (found.length === 0) return unjudged(`${name} was not measured`);
    const worst = Math.max(...found.map(({ value }) => value));
    return { met: worst <= limit, text: `${worst.toPrecision(4)} ${found[0]?.unit ?? ""}`.trim() };
  };

/** Our time, in ms. */
export const timeAtMost =
  (most: number): Judge =>
  (results) => {
    const [threads] = threadCounts(results).slice(-1);
    const own = results.map(({ timings }) => timings.find((one) => one.name === OURS && one.threads === threads));
    const worst = Math.max(...own.map((timing) => timing?.ms.median ?? NaN));
    return { met: worst <= most, text: `${worst.toPrecision(4)} ms` };
  };

/** Extra bytes as a share of those of inputs and outputs. */
export const extraMemory =
  (most: number): Judge =>
  (results) => {
    const worst = Math.max(...results.map(({ memory }) => memory.extra / memory.io));
    return { met: worst <= most, text: `${(worst / most).toFixed(2)} of that` };
  };

/** Our speed beside a copy of as many bytes, measured in turn: the worst case, by name. */
export const shareOfCopy =
  (least: number): Judge =>
  (results) => {
    const values: ByThreads[] = [];
    let worstCase = "";
    for (const threads of threadCounts(results)) {
      const shares = results.map((result) => speedups([result], [COPY], threads)?.[0]);
      if (shares.includes(undefined)) return unjudged("no copy was measured");
      const value = Math.min(...(shares as number[]));
      worstCase = results[shares.findIndex((share) => Object.is(share, value))].name;
      values.push({ threads, value: 100 * value });
    }
    const { met, text } = atLeast(values, 100 * least, "%");
    return { met, text: `${text} (${worstCase})` };
  };

/**
 * Our time beside that of `products` with as many operations, our own, of the case that has them for its baseline; less by
 * what a peer is faster in the other case, such a product alone.
 */
export const shareOfProducts =
  (products: string, least: number): Judge =>
  (results) => {
    const [threads] = threadCounts(results).slice(-1);
    const beside = (result: CaseResult): boolean => result.speedups.some(({ over }) => over === products);
    const peers = results.filter((result) => !beside(result)).flatMap(({ speedups }) => speedups);
    const behind = Math.min(1, ...peers.filter((one) => one.threads === threads).map(({ ratio }) => ratio.median));
    const share = Math.min(...(speedups(results.filter(beside), [products], threads) ?? [])) * behind;
    return atLeast([{ threads, value: 100 * share }], 100 * least, "%");
  };

const scalingOf = ({ scalings }: CaseResult, name: string): number | undefined =>
  scalings.find((one) => one.name === name)?.ratio.median;

export const scaling =
  (least: number): Judge =>
  (results) => {
    const found = results.map((result) => scalingOf(result, OURS));
    if (found.includes(undefined)) return unjudged("needs two cores");
    const mean = geometricMean(found as number[]);
    return { met: mean >= least, text: `${mean.toFixed(2)}x` };
  };

/** Our scaling is at most `slack` under the peer's, case by case. */
export const scalesAs =
  (peer: string, slack: number): Judge =>
  (results) => {
    const gaps = results.map((result) => {
      const [own, theirs] = [scalingOf(result, OURS), scalingOf(result, peer)];
      return own === undefined || theirs === undefined ? null : own - theirs;
    });
    if (gaps.includes(null)) return unjudged(`needs ${peer} and two cores`);
    const worst = Math.min(...(gaps as number[]));
    return { met: worst >= -slack, text: `${worst.toFixed(2)} (${results[gaps.indexOf(worst)].name})` };
  };

export const reproducible: Judge = (results) => {
  const different = results.filter((result) => !result.reproducible).map(({ name }) => name);
  return {
    met: different.length === 0,
    text: different.length === 0 ? "all cases" : `not ${different.join(", ")}`,
  };
};

/** A power of size, or a distance from a line, of memory at its peak: the worst curve counts. */
const byCurve = (
  results: readonly CaseResult[],
  value: (points: Points) => number,
): { name: string; worst: number } => {
  const names = [...new Set(results.map(({ curve }) => curve?.name ?? ""))];
  const values = names.map((name) =>
    value(
      results
        .filter(({ curve }) => curve?.name === name)
        .map(({ curve, memory }) => [curve!.x, memory.io + memory.extra] as const),
    ),
  );
  const worst = Math.max(...values);
  return { name: names[values.indexOf(worst)], worst };
};

/** Our times along the curve, beside that of its first point. */
function curve(results: readonly CaseResult[]): Points {
  return results.map(({ curve, speedups }, i) => {
    const ratio = i === 0 ? 1 : speedups.find(({ over }) => over === FIRST)?.ratio.median;
    return [curve?.x ?? NaN, 1 / (ratio ?? NaN)] as const;
  });
}

export const growsLike =
  (power: number, slack: number): Judge =>
  (results) => {
    const value = growth(curve(results));
    return { met: Math.abs(value - power) <= slack, text: `power ${value.toFixed(2)}` };
  };

export const isAffine =
  (most: number): Judge =>
  (results) => {
    const value = misfit(curve(results));
    return { met: value <= most, text: `${(100 * value).toFixed(1)}% off` };
  };

export const memoryGrowsLinearly =
  (most: number): Judge =>
  (results) => {
    const { name, worst } = byCurve(results, growth);
    return { met: worst <= most, text: `power ${worst.toFixed(2)} (${name})` };
  };

export const memoryIsAffine =
  (most: number): Judge =>
  (results) => {
    const { name, worst } = byCurve(results, misfit);
    return { met: worst <= most, text: `${(100 * worst).toFixed(1)}% off (${name})` };
  };
