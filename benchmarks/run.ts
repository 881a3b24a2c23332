// npm run bench [-- --suite NAME --filter RE --json --peers]
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { pace } from "./measure/alternate.js";
import { type CaseResult, measureCase } from "./measure/case.js";
import { type Ceiling, describeMachine, measureCeilings } from "./measure/machine.js";
import { type Options, parseOptions, usage, UsageError } from "./options.js";
import { reportPage } from "./output/report.js";
import { caseLines, machineLines, targetLines } from "./output/table.js";
import { startPeers } from "./peers/registry.js";
import { lastLine, scoreTargets } from "./score.js";
import { suites } from "./suites/index.js";

const suiteNames = suites.map(({ name }) => name);
const reportFile = join(import.meta.dirname, "report.html");

async function main({ suite, filter, json, peers: withPeers }: Options): Promise<number> {
  const threads = availableParallelism() > 1 ? [1, 2] : [1];
  const print = (lines: readonly string[], record: object): void =>
    console.log(json ? JSON.stringify(record) : [...lines, ""].join("\n"));

  const machine = describeMachine();
  const ceilings = ceilingsOrReason(threads);
  const { present, absent } = withPeers ? await startPeers(threads) : { present: [], absent: [] };
  const intro = machineLines(machine, ceilings, present, absent);
  print(intro, {
    type: "machine",
    ...machine,
    ceilings: typeof ceilings === "string" ? null : Object.fromEntries(ceilings),
    peers: present.map(({ name, version, isa, threads }) => ({ name, version, isa, threads })),
    absent,
  });

  const around = { threads, peers: present, ceilings: typeof ceilings === "string" ? new Map() : ceilings, pace };
  const results: CaseResult[] = [];
  for (const { name, cases } of suites) {
    if (suite !== null && name !== suite) continue;
    for (const bench of cases.filter((bench) => filter.test(bench.name))) {
      const result = await measureCase(name, bench, around);
      results.push(result);
      print(caseLines(result), { type: "case", ...result });
    }
  }
  await Promise.all(present.map((peer) => peer.close()));

  const scored = scoreTargets(suites, results);
  const summary = lastLine(scored);
  writeFileSync(reportFile, reportPage(intro, results, scored));
  print([...targetLines(scored), "", `charts: ${relative(process.cwd(), reportFile)}`, summary], {
    type: "targets",
    targets: scored,
    summary,
  });
  return results.some(({ failure }) => failure !== null) ? 1 : 0;
}

function ceilingsOrReason(threads: readonly number[]): Map<number, Ceiling> | string {
  try {
    return measureCeilings(threads);
  } catch (error) {
    return (error as Error).message;
  }
}

try {
  const options = parseOptions(process.argv.slice(2), suiteNames);
  if (options.help) console.log(usage(suiteNames));
  else process.exitCode = await main(options);
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`${error.message}\n\n${usage(suiteNames)}`);
  process.exitCode = 2;
}
