import type { KeyPoseResult } from "../evaluate/evaluate.js";
import type { MetricsLine } from "../metrics.js";
import { palette, Plot } from "./svg.js";

const size = { width: 560, height: 300 };

/** Loss and its parts against steps. */
export function lossChart(metrics: readonly MetricsLine[]): string {
  const lines = metrics.filter(({ kind }) => kind === "train");
  const known = new Set(["kind", "step", "gradNorm", "learningRate", "data_s", "update_s", "progress", "seconds"]);
  const names = Object.keys(lines[0] ?? {}).filter((name) => !known.has(name));
  const series = names.map((name) => smooth(lines.map((line) => [line.step, line[name] as number] as const)));
  const values = series
    .flat()
    .map(([, value]) => value)
    .filter((value) => value > 0);
  const plot = new Plot({
    ...size,
    x: [0, lines.at(-1)?.step ?? 1],
    y: [Math.min(...values) / 1.2, Math.max(...values) * 1.2],
    logY: true,
    title: "Loss",
    xLabel: "step",
    yLabel: "mean over 5 lines",
  });
  series.forEach((points, i) =>
    plot.line(
      points.filter(([, value]) => value > 0),
      palette[i % palette.length]!,
    ),
  );
  return plot.legend(names).toString();
}

/** Shares of held-out key poses within 1 and 2 cm against minutes. */
export function learningChart(metrics: readonly MetricsLine[]): string {
  const lines = metrics.filter(({ kind }) => kind === "validation");
  const minutes = (line: MetricsLine): number => (line["seconds"] as number) / 60;
  const plot = new Plot({
    ...size,
    x: [0, Math.max(0.1, ...lines.map(minutes))],
    y: [0, 100],
    title: "Unseen key poses",
    xLabel: "minutes of training",
    yLabel: "%",
  });
  (["within1cm", "within2cm"] as const).forEach((key, i) => {
    const points = lines.map((line) => [minutes(line), 100 * (line[key] as number)] as const);
    plot.line([[0, 0], ...points], palette[i]!);
  });
  return plot.legend(["within 1 cm", "within 2 cm"]).toString();
}

/** Distances between answer and target in bins of 2 mm; what is farther is in the last. */
export function errorHistogram(title: string, results: readonly KeyPoseResult[]): string {
  return histogram(
    title,
    "distance, cm",
    results.map(({ positionError }) => 100 * positionError),
    [0, 5],
    25,
  );
}

/** Answer minus target along an axis, in bins of 2 mm; what is farther is in the outermost. */
export function axisHistogram(axis: 0 | 1 | 2, results: readonly KeyPoseResult[]): string {
  const name = "xyz"[axis]!;
  return histogram(
    `Error along ${name}`,
    `${name}, cm`,
    results.map(({ offset }) => 100 * offset[axis]!),
    [-3, 3],
    30,
  );
}

function histogram(
  title: string,
  xLabel: string,
  values: readonly number[],
  x: readonly [number, number],
  bins: number,
): string {
  const counts = new Array<number>(bins).fill(0);
  const width = (x[1] - x[0]) / bins;
  for (const value of values) counts[Math.min(bins - 1, Math.max(0, Math.floor((value - x[0]) / width)))]!++;
  const plot = new Plot({
    width: 370,
    height: 240,
    x,
    y: [0, Math.max(1, ...counts) * 1.05],
    title,
    xLabel,
    yLabel: "key poses",
  });
  counts.forEach((count, i) => plot.bar(x[0] + i * width, x[0] + (i + 1) * width, count, palette[0]));
  return plot.toString();
}

// Means of up to five neighbouring points.
function smooth(points: readonly (readonly [number, number])[]): [number, number][] {
  return points.map(([x], i) => {
    const near = points.slice(Math.max(0, i - 2), i + 3);
    return [x, near.reduce((sum, [, y]) => sum + y, 0) / near.length];
  });
}
