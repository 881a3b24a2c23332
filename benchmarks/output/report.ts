import { charts, htmlPage, htmlTable, palette, paragraph, Plot, type Section } from "@md/train";
import type { CaseResult } from "../measure/case.js";
import { growth } from "../measure/fits.js";
import { FIRST, OURS } from "../measure/names.js";
import type { Scored } from "../score.js";
import { barChart } from "./bars.js";
import { duration, percent, rate, speedup, verdict } from "./table.js";

/** Colours of the contestants, the same in all charts. */
const colors: Readonly<Record<string, string>> = {
  [OURS]: palette[0],
  torch: palette[1],
  onednn: palette[2],
  openblas: palette[3],
  onnxruntime: palette[4],
  "jax-js": palette[5],
  tfjs: "#777777",
};
const colorOf = (name: string): string => colors[name] ?? "#bbbbbb";

/** One self-contained page: targets, then every suite with its bars, curves and numbers. */
export function reportPage(
  machine: readonly string[],
  results: readonly CaseResult[],
  scored: readonly Scored[],
): string {
  const suites = [...new Set(results.map(({ suite }) => suite))];
  return htmlPage("Speed beside the peers", [
    { heading: "Machine", parts: machine.map(paragraph) },
    targetSection(scored),
    ...suites.map((suite) =>
      suiteSection(
        suite,
        results.filter((result) => result.suite === suite),
      ),
    ),
  ]);
}

function targetSection(scored: readonly Scored[]): Section {
  const rows = scored.map((one) => [one.sentence, verdict(one), one.text]);
  return { heading: "Targets", parts: [htmlTable({ titles: ["target", "", "found"], rows })] };
}

const mostThreads = (results: readonly CaseResult[]): number =>
  Math.max(...results.flatMap(({ timings }) => timings.map(({ threads }) => threads)));

function suiteSection(suite: string, results: readonly CaseResult[]): Section {
  const measured = results.filter(({ failure }) => failure === null);
  const bars = measured.filter(({ curve }) => curve === null);
  const curves = [...new Set(measured.flatMap(({ curve }) => (curve ? [curve.name] : [])))];
  const plots = curves.flatMap((name) => {
    const points = measured.filter(({ curve }) => curve?.name === name);
    return points.length < 2 ? [] : [timeCurve(name, points), memoryCurve(name, points)];
  });
  const failures = results.flatMap(({ name, failure }) => (failure === null ? [] : [paragraph(`${name}: ${failure}`)]));
  return {
    heading: suite,
    parts: [...failures, ...(bars.length > 0 ? [kernelBars(bars)] : []), charts(plots), numbers(measured)],
  };
}

/** Shares of the machine's ceiling where the work is known, else speeds beside ours. */
function kernelBars(results: readonly CaseResult[]): string {
  const threads = mostThreads(results);
  const known = results.every(({ timings }) => timings.every(({ share }) => share !== null));
  const groups = results.map(({ name, timings }) => {
    const most = timings.filter((timing) => timing.threads === threads);
    const own = most.find((timing) => timing.name === OURS);
    return {
      label: name,
      bars: most.map((timing) => ({
        name: timing.name,
        color: colorOf(timing.name),
        value: known ? 100 * timing.share! : (own?.ms.median ?? NaN) / timing.ms.median,
        text: known ? percent(timing.share) : duration(timing.ms.median),
      })),
    };
  });
  const title = known ? "Share of the machine's ceiling" : "Speed beside ours";
  return barChart(`${title}, ${threads} thread${threads === 1 ? "" : "s"}`, groups);
}

const decades = (values: readonly number[]): readonly [number, number] => [
  Math.min(...values) / 1.3,
  Math.max(...values) * 1.3,
];

function timeCurve(name: string, results: readonly CaseResult[]): string {
  const threads = mostThreads(results);
  const everyone = new Set(results.flatMap(({ timings }) => timings.map((timing) => timing.name)));
  const names = [...everyone].filter((who) => who !== FIRST);
  const series = names.map((who) =>
    results.flatMap(({ curve, timings }) => {
      const found = timings.find((timing) => timing.name === who && timing.threads === threads);
      return found ? [[Math.log10(curve!.x), found.ms.median] as const] : [];
    }),
  );
  const power = growth(series[names.indexOf(OURS)].map(([x, y]) => [10 ** x, y] as const));
  const plot = new Plot({
    width: 560,
    height: 300,
    x: [series[0][0][0], series[0].at(-1)![0]],
    y: decades(series.flat().map(([, ms]) => ms)),
    logY: true,
    title: `${name}, ours ~ size^${power.toFixed(2)}`,
    xLabel: "size, powers of ten",
    yLabel: "ms",
  });
  series.forEach((points, i) => dotted(plot, points, colorOf(names[i])));
  names.forEach((who, i) => plot.draw(`<text x="${60}" y="${44 + 15 * i}" fill="${colorOf(who)}">${who}</text>`));
  return plot.toString();
}

function memoryCurve(name: string, results: readonly CaseResult[]): string {
  const points = results.map(({ curve, memory }) => [Math.log10(curve!.x), (memory.io + memory.extra) / 1e6] as const);
  const plot = new Plot({
    width: 560,
    height: 300,
    x: [points[0][0], points.at(-1)![0]],
    y: decades(points.map(([, megabytes]) => megabytes)),
    logY: true,
    title: `${name}: memory at its peak`,
    xLabel: "size, powers of ten",
    yLabel: "MB",
  });
  dotted(plot, points, colorOf(OURS));
  return plot.toString();
}

function dotted(plot: Plot, points: readonly (readonly [number, number])[], color: string): void {
  plot.line(points, color);
  for (const [x, y] of points)
    plot.draw(`<circle cx="${plot.px(x).toFixed(1)}" cy="${plot.py(y).toFixed(1)}" r="3" fill="${color}"/>`);
}

function numbers(results: readonly CaseResult[]): string {
  const rows = results.flatMap((result) =>
    [...result.timings]
      .sort((a, b) => a.threads - b.threads)
      .map((timing) => [
        result.name,
        String(timing.threads),
        timing.name,
        duration(timing.ms.median),
        rate(result, timing),
        percent(timing.share),
        speedup(result, timing),
      ]),
  );
  const titles = ["case", "threads", "who", "time", "rate", "of the ceiling", "ours is faster by [95%]"];
  return `<details><summary>Numbers</summary>${htmlTable({ titles, rows })}</details>`;
}
