import type { CaseResult } from "../../../benchmarks/measure/case.js";
import { OURS } from "../../../benchmarks/measure/names.js";
import { duration } from "../../../benchmarks/output/table.js";
import { deviceTargets } from "../../../benchmarks/targets.js";
import type { StepResult } from "./check.js";

type Measured = NonNullable<StepResult["entries"][number]["measured"]>;

/** Times beside PyTorch's, and the targets with what was measured for them. */
export function benchmarkParts(results: readonly StepResult[]): string[][] {
  const entries = results.flatMap(({ entries }) => entries);
  const ceilings = entries.flatMap(({ name, numbers }) =>
    name.startsWith("ceilings") && numbers
      ? [`${name}: ${numbers["GFLOP/s"]!.toFixed(0)} GFLOP/s, copy ${numbers["GB/s"]!.toFixed(0)} GB/s`]
      : [],
  );
  const measured = entries.flatMap((entry) => (entry.measured ? [entry.measured] : []));
  if (measured.length === 0) return [ceilings];
  return [
    ceilings,
    ["medians of runs in turn; x: how many times faster we are, with its 95% interval", ...measured.flatMap(caseLines)],
    targetLines(measured),
  ];
}

function caseLines({ dtype, result }: Measured): string[] {
  const { name, timings, speedups, metrics, unable } = result;
  const ours = timings.find((timing) => timing.name === OURS);
  const share = ours?.share ? `, ${(100 * ours.share).toFixed(0)}% of the ceiling` : "";
  const others = speedups.map(({ over, ratio: { median, low, high } }) => {
    const ms = timings.find((timing) => timing.name === over)!.ms.median;
    return `  ${over} ${duration(ms)}, ${median.toFixed(2)}x [${low.toFixed(2)}, ${high.toFixed(2)}]`;
  });
  const more = metrics.map(({ name: what, value, unit }) => `  ${what} ${value.toPrecision(4)} ${unit}`);
  return [
    `${dtype} ${name}: ${ours ? duration(ours.ms.median) : "not timed"}${share}`,
    ...others,
    ...more,
    ...unable.map((reason) => `  could not: ${reason}`),
  ];
}

/** A case that was measured twice, with and without torch.compile, counts once, with both ratios. */
function targetLines(measured: readonly Measured[]): string[] {
  const merged = new Map<string, CaseResult>();
  for (const { dtype, result } of measured) {
    const key = `${dtype} ${result.suite} ${result.name}`;
    const earlier = merged.get(key);
    const fresh = result.speedups.filter(({ over }) => !earlier?.speedups.some((one) => one.over === over));
    merged.set(key, { ...(earlier ?? result), speedups: [...(earlier?.speedups ?? []), ...fresh] });
  }
  return Object.entries(deviceTargets).map(([id, { sentence, judge }]) => {
    const counting = [...merged.values()].filter(({ countsFor }) => countsFor.includes(id));
    const { met, text } = counting.length > 0 ? judge(counting) : { met: null, text: "not measured" };
    return `${(met === null ? "not judged" : met ? "met" : "MISSED").padEnd(10)}  ${sentence}: ${text}`;
  });
}
