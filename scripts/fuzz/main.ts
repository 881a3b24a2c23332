import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Finding, makeInput } from "./cases.js";
import { supervise } from "./supervise.js";
import { targets } from "./targets/index.js";

const FOLDER = join("runs", "fuzz");
const CASES = 100_000;
const MAX_PRINTED_A_KIND = 3;
const PRINT_MS = 5000;

const usage = `Usage: npm run fuzz -- [--target NAME]… [--cases N] [--seed N] [--case N]
Mutates inputs of every parser: ${CASES} cases a target, or those before --cases, or --case alone.
Targets: ${targets.map(({ name }) => name).join(", ")}`;

/** Runs cases and prints what is wrong with them; what was found lies in runs/fuzz. 1 when there is anything, else 0. */
export async function main(args: readonly string[]): Promise<number> {
  let chosen, seed: number, first: number, end: number;
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        target: { type: "string", multiple: true, default: targets.map(({ name }) => name) },
        cases: { type: "string", default: String(CASES) },
        seed: { type: "string", default: "0" },
        case: { type: "string" },
      },
    });
    chosen = values.target.map((name) => {
      const target = targets.find((candidate) => candidate.name === name);
      if (!target) throw new Error(`there is no target "${name}"`);
      return target;
    });
    seed = count("seed", values.seed);
    [first, end] =
      values.case === undefined
        ? [0, count("cases", values.cases)]
        : [count("case", values.case), count("case", values.case) + 1];
  } catch (error) {
    console.error(`${(error as Error).message}\n${usage}`);
    return 2;
  }
  let total = 0;
  for (const target of chosen) {
    const findings: Finding[] = [];
    const module = new URL("./targets/index.ts", import.meta.url).href;
    const begun = Date.now();
    let printed = begun;
    const line = (done: number): string => {
      const seconds = (Date.now() - begun) / 1000;
      const left = done > 0 ? ((end - first - done) * seconds) / done : 0;
      return `${target.name}: ${done} of ${end - first} cases, ${(done / seconds).toFixed(0)}/s, ${left.toFixed(0)} s left, ${findings.length} findings`;
    };
    const onFinding = (finding: Finding): void => {
      findings.push(finding);
      if (findings.filter(({ kind }) => kind === finding.kind).length <= MAX_PRINTED_A_KIND) print(finding);
    };
    const onProgress = (done: number): void => {
      if (Date.now() - printed < PRINT_MS) return;
      printed = Date.now();
      console.log(line(done));
    };
    const done = await supervise({ module, target: target.name, seed, first, end, onFinding, onProgress });
    console.log(line(done));
    if (done < end - first) console.log(`${target.name}: given up after ${done} cases`);
    const seeds = findings.length > 0 ? await target.seeds() : [];
    for (const finding of findings.slice(0, 100)) {
      mkdirSync(FOLDER, { recursive: true });
      const name = join(FOLDER, `${target.name}-${seed}-${finding.case}`);
      writeFileSync(`${name}.bin`, await makeInput(target, seeds, seed, finding.case));
      writeFileSync(`${name}.txt`, `${finding.kind}\n${finding.detail}\n`);
    }
    total += findings.length;
  }
  console.log(total === 0 ? "no findings" : `${total} findings, in ${FOLDER}`);
  return total === 0 ? 0 : 1;
}

function print({ target, seed, case: number, kind, detail }: Finding): void {
  const short = detail.split("\n").slice(0, 3).join("\n  ").slice(0, 600);
  console.log(
    `${target} case ${number}: ${kind}\n  ${short}\n  npm run fuzz -- --target ${target} --seed ${seed} --case ${number}`,
  );
}

function count(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`--${name} is "${text}", expected a number`);
  return Number(text);
}
