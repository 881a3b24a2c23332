import { charts, formatSeconds, htmlPage, htmlTable, palette, paragraph, percent, Plot } from "@md/train";
import type { AblationResults, AblationRun, AblationSettings } from "./results.js";
import { spreads } from "./statement.js";
import type { CurvePoint } from "./train.js";
import type { ActionShares } from "./unseen-actions.js";

const measures = [
  { key: "within1cm", title: "Within 1 cm" },
  { key: "within3deg", title: "Within 3°" },
  { key: "withinBoth", title: "Both" },
] as const satisfies readonly { key: keyof ActionShares; title: string }[];

/** The ablation as one self-contained page. */
export function ablationReport({ settings, statements, runs }: AblationResults): string {
  return htmlPage("Noised samples a scene at equal gradient steps", [
    {
      heading: "Result",
      parts: [...statements.map(paragraph), htmlTable(lastTable(runs)), paragraph(describeSettings(settings, runs))],
    },
    ...(["step", "seconds"] as const).map((x) => ({
      heading: `Against ${x === "step" ? "gradient steps" : "seconds of training"}`,
      parts: [charts(measures.map(({ key, title }) => curveChart(runs, key, x, title)))],
    })),
  ]);
}

function describeSettings(
  { steps, candidates, unseenScenes, ...rest }: AblationSettings,
  runs: readonly AblationRun[],
): string {
  const seeds = new Set(runs.map(({ seed }) => seed)).size;
  return (
    `Each of ${runs.length} runs (${seeds} ${seeds === 1 ? "seed" : "seeds"} of initialisation, data order and noise) trains ${rest.config.model} on the same ` +
    `${rest.trainingScenes} scenes for ${steps} steps of ${rest.config.training.batchSize}. Its averaged weights then draw ` +
    `${candidates} actions for each of ${unseenScenes} unseen scenes; with two spheres of the named colour either is right. ` +
    `Lines are means over seeds, bands reach from the lowest to the highest. Seconds leave the evaluations out and were ` +
    `taken with ${rest.threads} threads (${rest.isa}). The pose head learns rotations from its own queries, as many whatever M is.`
  );
}

function lastTable(runs: readonly AblationRun[]): { titles: string[]; rows: string[][] } {
  const columns = measures.map(({ key }) => spreads(runs, ({ curve }) => curve.at(-1)![key]));
  const seconds = spreads(runs, ({ curve }) => curve.at(-1)!.seconds);
  return {
    titles: ["M", "seeds", ...measures.map(({ title }) => `${title} (lowest to highest)`), "training"],
    rows: seconds.map(({ samples, mean }, row) => [
      String(samples),
      String(runs.filter((run) => run.samples === samples).length),
      ...columns.map((column) => {
        const { low, mean: share, high } = column[row]!;
        return `${percent(share)} (${percent(low)} to ${percent(high)})`;
      }),
      formatSeconds(mean),
    ]),
  };
}

function curveChart(
  runs: readonly AblationRun[],
  key: keyof ActionShares,
  x: "step" | "seconds",
  title: string,
): string {
  const plot = new Plot({
    width: 380,
    height: 280,
    x: [0, Math.max(...runs.map(({ curve }) => curve.at(-1)![x]))],
    y: [0, 100],
    title,
    xLabel: x === "step" ? "gradient step" : "seconds of training",
    yLabel: "% of unseen actions",
  });
  const counts = [...new Set(runs.map(({ samples }) => samples))].sort((a, b) => a - b);
  counts.forEach((samples, i) => {
    const curves = runs.filter((run) => run.samples === samples).map(({ curve }) => curve);
    const at = (point: number, value: (point: CurvePoint) => number): number[] =>
      curves.map((curve) => value(curve[point]!));
    const series = (summary: (values: readonly number[]) => number): [number, number][] =>
      curves[0]!.map((_, point) => [mean(at(point, (p) => p[x])), 100 * summary(at(point, (p) => p[key]))]);
    const color = palette[i % palette.length]!;
    plot.band(
      series((values) => Math.min(...values)),
      series((values) => Math.max(...values)),
      color,
    );
    plot.line(series(mean), color);
  });
  return plot.legend(counts.map((samples) => `M = ${samples}`)).toString();
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
