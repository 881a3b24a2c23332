// npm run bench [-- --suite NAME --filter RE --json --peers]
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { cudaInfo, DeviceError, synchronize } from "@md/tensor";
import { pace } from "./measure/alternate.js";
import { boundByMemory, type CaseResult, measureCase } from "./measure/case.js";
import { measureDeviceCeilings } from "./measure/device-ceilings.js";
import { type Ceiling, describeMachine, measureCeilings, startCopies } from "./measure/machine.js";
import { type Options, parseOptions, usage, UsageError } from "./options.js";
import { reportPage } from "./output/report.js";
import { caseLines, machineLines, targetLines } from "./output/table.js";
import { startDevicePeers } from "./peers/device-peers.js";
import { startPeers } from "./peers/registry.js";
import { lastLine, scoreTargets } from "./score.js";
import { suites as cpuSuites } from "./suites/index.js";
import { suitesOn } from "./suites/on-device.js";
import { deviceTargets, targets } from "./targets.js";

const suiteNames = [...new Set([...cpuSuites, ...suitesOn({})].map(({ name }) => name))];
const reportFile = join(import.meta.dirname, "report.html");

async function main(options: Options): Promise<number> {
  const { suite, filter, json, peers: withPeers, device, dtype } = options;
  const onCpu = device === "cpu";
  // DeviceError before anything runs where there is no such device.
  synchronize(device);
  const suites = onCpu ? cpuSuites : suitesOn(options);
  if (suite !== null && !suites.some(({ name }) => name === suite))
    throw new UsageError(`--suite ${suite} has no case on ${device} in ${dtype}`);
  const chosen = suites
    .filter(({ name }) => suite === null || name === suite)
    .map(({ name, cases }) => ({ name, cases: cases.filter((bench) => filter.test(bench.name)) }));
  if (chosen.every(({ cases }) => cases.length === 0))
    throw new UsageError(`--filter ${filter.source}: no case of ${suite ?? "any suite"} has such a name`);
  const threads = onCpu && availableParallelism() > 1 ? [1, 2] : [1];
  const print = (lines: readonly string[], record: object): void =>
    console.log(json ? JSON.stringify(record) : [...lines, ""].join("\n"));

  const machine = describeMachine();
  const ceilings = ceilingsOrReason(() =>
    onCpu ? measureCeilings(threads) : new Map([[1, measureDeviceCeilings(device, dtype)]]),
  );
  const start = () => (onCpu ? startPeers(threads) : startDevicePeers(options));
  const { present, absent } = withPeers ? await start() : { present: [], absent: [] };
  const intro = [...(onCpu ? [] : [deviceLine(options)]), ...machineLines(machine, ceilings, present, absent)];
  print(intro, {
    type: "machine",
    ...machine,
    ...(onCpu ? {} : { device, dtype, cuda: cudaInfo() }),
    ceilings: typeof ceilings === "string" ? null : Object.fromEntries(ceilings),
    peers: present.map(({ name, version, isa, threads }) => ({ name, version, isa, threads })),
    absent,
  });

  const wanted = onCpu && chosen.some(({ cases }) => cases.some(boundByMemory));
  // Where the ceilings were measured, their program is there.
  const copies = wanted && typeof ceilings !== "string" ? await startCopies(threads) : [];
  const around = {
    device,
    dtype,
    threads,
    peers: present,
    copies,
    ceilings: typeof ceilings === "string" ? new Map() : ceilings,
    pace,
  };
  const results: CaseResult[] = [];
  for (const { name, cases } of chosen) {
    for (const bench of cases) {
      const result = await measureCase(name, bench, around);
      results.push(result);
      print(caseLines(result), { type: "case", ...result });
    }
  }
  await Promise.all([...present, ...copies].map((peer) => peer.close()));

  const scored = scoreTargets(suites, results, onCpu ? targets : deviceTargets);
  const summary = lastLine(scored);
  print([...targetLines(scored), "", `charts: ${relative(process.cwd(), reportFile)}`, summary], {
    type: "targets",
    targets: scored,
    summary,
  });
  writeFileSync(reportFile, reportPage(intro, results, scored));
  return results.some(({ failure }) => failure !== null) ? 1 : 0;
}

function deviceLine({ device, dtype }: Options): string {
  const { devices, driver, cublas } = cudaInfo();
  const name = devices[Number(device.split(":")[1] ?? 0)]?.name ?? "unknown device";
  return `${device}: ${name}, driver ${driver}, cuBLAS ${cublas}; ${dtype}`;
}

function ceilingsOrReason(measure: () => Map<number, Ceiling>): Map<number, Ceiling> | string {
  try {
    return measure();
  } catch (error) {
    return (error as Error).message;
  }
}

try {
  const options = parseOptions(process.argv.slice(2), suiteNames);
  if (options.help) console.log(usage(suiteNames));
  else process.exitCode = await main(options);
} catch (error) {
  if (error instanceof UsageError) console.error(`${error.message}\n\n${usage(suiteNames)}`);
  else if (error instanceof DeviceError) console.error(`DeviceError: ${error.message}`);
  else throw error;
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
