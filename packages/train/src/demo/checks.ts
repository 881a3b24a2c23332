import { formatTable, percent } from "../evaluate/groups.js";
import type { AnswerRow, Judgement } from "./judge.js";

/** Something that the demo promises, and whether it held. */
export interface Check {
  promise: string;
  found: string;
  held: boolean;
}

/** The promises of the demo. */
export function checkJudgement({ policy, controls, otherSphere, ambiguous }: Judgement): Check[] {
  const reached = policy[0]!.reached;
  const bestControl = Math.max(...controls.map((row) => row.reached));
  const checks: Check[] = [
    { promise: "at least 90% of unseen scenes within 2 cm", found: percent(reached), held: reached >= 0.9 },
    { promise: "every control below 50%", found: percent(bestControl), held: bestControl < 0.5 },
    {
      promise: "naming another sphere moves at least 90% of the answers there",
      found: percent(otherSphere.reached),
      held: otherSphere.reached >= 0.9,
    },
  ];
  if (ambiguous) {
    const { nearLess, far } = ambiguous;
    checks.push(
      {
        promise: "two spheres of the named colour: at least 25% of the candidates near each",
        found: percent(nearLess),
        held: nearLess >= 0.25,
      },
      { promise: "… and under 10% farther than 3 cm from both", found: percent(far), held: far < 0.1 },
    );
  }
  return checks;
}

/** Answers and their distances as a table. */
export function answerTable({ policy, controls, otherSphere }: Judgement): { titles: string[]; rows: string[][] } {
  const cells = ({ name, reached, medianDistance }: AnswerRow): string[] => [
    name,
    percent(reached),
    (100 * medianDistance).toFixed(2),
  ];
  return { titles: ["", "within 2 cm", "median cm"], rows: [...policy, ...controls, otherSphere].map(cells) };
}

/** Checks as a table. */
export const checkTable = (checks: readonly Check[]): { titles: string[]; rows: string[][] } => ({
  titles: ["", "found", "held"],
  rows: checks.map(({ promise, found, held }) => [promise, found, held ? "yes" : "NO"]),
});

/** Both tables as text. */
export const formatJudgement = (judgement: Judgement, checks: readonly Check[]): string =>
  [formatTable(answerTable(judgement)), "", formatTable(checkTable(checks))].join("\n");
