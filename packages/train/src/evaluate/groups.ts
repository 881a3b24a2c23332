import type { KeyPoseResult } from "./evaluate.js";
import { type Summary, summarize } from "./score.js";

/** A summary of some of the results. */
export interface Group {
  name: string;
  summary: Summary;
}

/** All results, then by task where there are several, then by key pose of each task. */
export function groupResults(results: readonly KeyPoseResult[]): Group[] {
  const tasks = [...new Set(results.map(({ task }) => task))].sort();
  const groups: Group[] = [{ name: "all", summary: summarize(results) }];
  for (const task of tasks) {
    const ofTask = results.filter((result) => result.task === task);
    if (tasks.length > 1) groups.push({ name: task, summary: summarize(ofTask) });
    const keyPoses = [...new Set(ofTask.map(({ keyPose }) => keyPose))].sort((a, b) => a - b);
    if (keyPoses.length === 1) continue;
    for (const keyPose of keyPoses) {
      const ofKeyPose = ofTask.filter((result) => result.keyPose === keyPose);
      groups.push({ name: `${task} key pose ${keyPose}`, summary: summarize(ofKeyPose) });
    }
  }
  return groups;
}

const columns: readonly [title: string, cell: (summary: Summary) => string][] = [
  ["n", ({ count }) => String(count)],
  ["mean cm", ({ positionMean }) => (100 * positionMean).toFixed(2)],
  ["median cm", ({ positionMedian }) => (100 * positionMedian).toFixed(2)],
  ["<1 cm", ({ within1cm }) => percent(within1cm)],
  ["<2 cm", ({ within2cm }) => percent(within2cm)],
  ["mean °", ({ rotationMean }) => rotationMean.toFixed(2)],
  ["<3° (ceiling)", ({ within3deg, ceiling3deg }) => `${percent(within3deg)} (${percent(ceiling3deg)})`],
  ["<5° (ceiling)", ({ within5deg, ceiling5deg }) => `${percent(within5deg)} (${percent(ceiling5deg)})`],
  ["bin ±1", ({ besideBin }) => percent(besideBin)],
  ["gripper", ({ gripperAccuracy }) => percent(gripperAccuracy)],
];

/** Titles and cells of the groups, for any kind of table. */
export function summaryTable(groups: readonly Group[]): { titles: string[]; rows: string[][] } {
  return {
    titles: ["", ...columns.map(([title]) => title)],
    rows: groups.map(({ name, summary }) => [name, ...columns.map(([, cell]) => cell(summary))]),
  };
}

/** "97%", "99.5%". */
export function percent(share: number): string {
  const value = 100 * share;
  return `${Number.isInteger(value) ? value : value.toFixed(1)}%`;
}

/** Columns aligned with spaces, the first to the left and the others to the right. */
export function formatTable({
  titles,
  rows,
}: {
  titles: readonly string[];
  rows: readonly (readonly string[])[];
}): string {
  const lines = [titles, ...rows];
  const widths = titles.map((_, column) => Math.max(...lines.map((cells) => cells[column]!.length)));
  return lines
    .map((cells) => cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "))
    .join("\n");
}
