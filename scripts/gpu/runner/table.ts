import { benchmarkParts } from "./benchmark-table.js";
import type { StepResult } from "./check.js";
import { count, type Status } from "./outcome.js";

const MOST_REASONS = 12;
const NAME = 24;
const firstLine = (text: string): string => text.split("\n")[0]!;

/** Steps with what passed, failed and was skipped in them; then what failed, times, and what was skipped and why. */
export function tableOf(results: readonly StepResult[]): string {
  const counts: readonly Status[] = ["passed", "failed", "skipped"];
  const head = `${"step".padEnd(NAME)}${"status".padEnd(13)}${"seconds".padStart(8)}${counts.map((status) => status.padStart(9)).join("")}`;
  const lines = results.map(({ name, status, seconds, reason, entries }) =>
    [
      name.padEnd(NAME),
      status.padEnd(13),
      seconds.toFixed(1).padStart(8),
      ...counts.map((one) => String(count(entries, one)).padStart(9)),
      reason === "" ? "" : `  ${firstLine(reason)}`,
    ].join(""),
  );
  const total = `${results.filter(({ status }) => status === "passed").length} steps passed, ${results.filter(({ status }) => status === "failed").length} failed, ${results.filter(({ status }) => status === "skipped" || status === "not reached").length} skipped or not reached`;
  const parts = [
    [head, ...lines],
    doctorLines(results),
    goldenLines(results),
    ...benchmarkParts(results),
    reasons(results, "failed"),
    withoutKernel(results),
    [total],
  ];
  return parts
    .filter((part) => part.length > 0)
    .map((part) => part.join("\n"))
    .join("\n\n");
}

const entriesOf = (results: readonly StepResult[], step: string) =>
  results.find(({ name }) => name === step)?.entries ?? [];

const doctorLines = (results: readonly StepResult[]): string[] =>
  entriesOf(results, "doctor").map(({ name, reason }) => (reason ? `${name}: ${firstLine(reason)}` : name));

const goldenLines = (results: readonly StepResult[]): string[] =>
  entriesOf(results, "goldens").flatMap(({ name, numbers }) =>
    numbers ? [`${name}: ${numbers.passed} passed, ${numbers.failed} failed, ${numbers.pending} without a kernel`] : [],
  );

function reasons(results: readonly StepResult[], wanted: Status): string[] {
  const all = results.flatMap(({ name: step, entries }) =>
    entries
      .filter(({ status }) => status === wanted)
      .map(({ name, reason = "" }) => `${wanted}: ${step}: ${name}: ${reason}`),
  );
  return all.length <= MOST_REASONS
    ? all
    : [...all.slice(0, MOST_REASONS), `… and ${all.length - MOST_REASONS} more in results.json`];
}

// Rows of one op share a reason: each op once.
function withoutKernel(results: readonly StepResult[]): string[] {
  const ops = new Set<string>();
  for (const { entries } of results)
    for (const { reason = "" } of entries)
      for (const [, op] of reason.matchAll(/\[(\w+)\] has no CUDA kernel/g)) ops.add(op!);
  return ops.size > 0 ? [`no CUDA kernel: ${[...ops].sort().join(", ")}`] : [];
}
