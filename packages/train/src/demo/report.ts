import { groupResults, summaryTable } from "../evaluate/groups.js";
import type { MetricsLine } from "../metrics.js";
import { formatSeconds } from "../progress.js";
import { axisHistogram, errorHistogram, learningChart, lossChart } from "../report/charts.js";
import { charts, htmlPage, htmlTable, paragraph } from "../report/html.js";
import { topView } from "../report/top-view.js";
import type { SceneAnswer } from "./answers.js";
import { answerTable, type Check, checkTable } from "./checks.js";
import type { Judgement } from "./judge.js";
import { solverCaption, type SolverTable, solverTable } from "./solver-table.js";

/** What a report of the demo shows. */
export interface DemoReport {
  /** One sentence about the run. */
  description: string;
  metrics: readonly MetricsLine[];
  judgement: Judgement;
  checks: readonly Check[];
  answers: readonly SceneAnswer[];
  solvers: SolverTable | null;
  /** Seconds of each stage. */
  seconds: Readonly<Record<string, number>>;
}

const SHOWN = 4;

/** The demo's findings as one self-contained page. */
export function demoReport({ description, metrics, judgement, checks, answers, solvers, seconds }: DemoReport): string {
  const results = answers.map(({ median }) => median);
  const clear = answers.filter(({ scene }) => !scene.ambiguous).slice(0, SHOWN);
  const ambiguous = answers.filter(({ scene }) => scene.ambiguous).slice(0, SHOWN);
  const tasks = [...new Set(results.map(({ task }) => task))];
  const stages = Object.entries(seconds).map(([stage, value]) => [stage, formatSeconds(value)]);
  return htmlPage("Reaching the named sphere", [
    {
      heading: "Result",
      parts: [
        paragraph(description),
        htmlTable(checkTable(checks)),
        paragraph(
          `Answers to ${judgement.scenes} unseen scenes, by their distance from the nearest sphere of the named colour:`,
        ),
        htmlTable(answerTable(judgement)),
      ],
    },
    ...(solvers
      ? [{ heading: "Solvers", parts: [paragraph(solverCaption(solvers)), htmlTable(solverTable(solvers))] }]
      : []),
    { heading: "Learning", parts: [charts([lossChart(metrics), learningChart(metrics)])] },
    {
      heading: "Errors",
      parts: [
        paragraph(
          `Median of ${judgement.candidates} candidates against the demonstration. In a scene with two spheres of the named colour ` +
            "the demonstration reaches one of them and the median may lie between.",
        ),
        htmlTable(summaryTable(groupResults(results))),
        charts(
          tasks.map((task) =>
            errorHistogram(
              `Distance, ${task}`,
              results.filter((result) => result.task === task),
            ),
          ),
        ),
        charts(([0, 1, 2] as const).map((axis) => axisHistogram(axis, results))),
      ],
    },
    {
      heading: "Scenes from above",
      parts: [
        paragraph("Dashed rings mark the spheres of the named colour, crosses the candidates."),
        charts(
          [...clear, ...ambiguous].map(({ scene, candidates }) =>
            topView({ title: scene.instruction, scene, candidates }),
          ),
        ),
      ],
    },
    { heading: "Time", parts: [htmlTable({ titles: ["", "time"], rows: stages })] },
  ]);
}
