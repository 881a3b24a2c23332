import type { Verdict } from "./judge.js";
import type { CaseResult } from "./measure/case.js";
import type { Suite } from "./suite.js";
import { type Target, targets } from "./targets.js";

/** A target with its verdict. */
export interface Scored extends Verdict {
  id: string;
  sentence: string;
  /** Whether all cases that count for it ran. */
  ran: boolean;
}

/** Judges every target on the cases that count for it; one whose cases were not all measured is not judged. */
export function scoreTargets(
  suites: readonly Suite[],
  results: readonly CaseResult[],
  table: Readonly<Record<string, Target>> = targets,
): Scored[] {
  return Object.entries(table).map(([id, { sentence, judge, everyCase }]) => {
    const counts = ({ countsFor = [] }: { countsFor?: readonly string[] }): boolean =>
      everyCase === true || countsFor.includes(id);
    const wanted = suites.flatMap(({ cases }) => cases).filter(counts).length;
    const found = results.filter(counts);
    const failed = found.filter(({ failure }) => failure !== null);
    if (failed.length > 0)
      return { id, sentence, ran: true, met: false, text: `${failed[0].name}: ${failed[0].failure}` };
    if (found.length < wanted || wanted === 0)
      return { id, sentence, ran: false, met: null, text: `${found.length} of ${wanted} cases ran` };
    return { id, sentence, ran: true, ...judge(found) };
  });
}

/** The last line: what was met of how many, what was missed with its number, what could not be judged, what did not run. */
export function lastLine(scored: readonly Scored[]): string {
  const of = (met: boolean | null): Scored[] => scored.filter((one) => one.ran && one.met === met);
  const list = (some: readonly Scored[]): string => some.map(({ id, text }) => `${id} (${text})`).join(", ");
  const parts = [`targets met: ${of(true).length} of ${scored.length}`];
  if (of(false).length > 0) parts.push(`missed: ${list(of(false))}`);
  if (of(null).length > 0) parts.push(`not judged: ${list(of(null))}`);
  const idle = scored.filter(({ ran }) => !ran);
  if (idle.length > 0) parts.push(`not run: ${idle.map(({ id }) => id).join(", ")}`);
  return parts.join("; ");
}
