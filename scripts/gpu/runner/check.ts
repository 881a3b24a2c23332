import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { ask } from "./ask.js";
import { buildAddon } from "./build.js";
import { pythonsCublas } from "./cublas.js";
import { count, type Entry, type Status, writeJson } from "./outcome.js";
import { run } from "./process.js";
import { tableOf } from "./table.js";

const LIMIT_MS = 480_000;

/** One line of the table; results.json is a list of them. */
export interface StepResult {
  name: string;
  status: Status | "not reached";
  seconds: number;
  /** Why it failed, was skipped or was not reached. */
  reason: string;
  entries: Entry[];
}

interface Step {
  name: string;
  /** Of {@link runStep}. */
  runs: string;
  seconds: number;
  /** Tool of compute-sanitizer that the step runs under. */
  sanitizer?: "memcheck" | "racecheck";
  needsDevice: boolean;
}

// The most valuable first: time may end at any of them.
const steps: readonly Step[] = [
  { name: "doctor", runs: "doctor", seconds: 60, needsDevice: false },
  { name: "op cases", runs: "op-cases", seconds: 90, needsDevice: true },
  { name: "goldens", runs: "goldens", seconds: 45, needsDevice: true },
  { name: "policy, bf16", runs: "policy-bf16", seconds: 90, needsDevice: true },
  { name: "training", runs: "training", seconds: 60, needsDevice: true },
  { name: "kernels, bf16", runs: "kernels-bf16", seconds: 45, needsDevice: true },
  { name: "policy, bf16, compiled", runs: "policy-bf16-compiled", seconds: 120, needsDevice: true },
  { name: "kernels, f32", runs: "kernels-f32", seconds: 45, needsDevice: true },
  { name: "policy, f32", runs: "policy-f32", seconds: 60, needsDevice: true },
  { name: "memcheck", runs: "op-cases", seconds: 120, sanitizer: "memcheck", needsDevice: true },
  { name: "racecheck", runs: "race-op-cases", seconds: 60, sanitizer: "racecheck", needsDevice: true },
  { name: "policy, f32, compiled", runs: "policy-f32-compiled", seconds: 120, needsDevice: true },
];

export interface CheckOptions {
  /** Folder that scripts/gpu/stage has filled. */
  stage: string;
  /** Where results and logs go. */
  out: string;
  /** The JavaScript file that runs steps. */
  program: string;
  /** In ms since 1970; eight minutes later all is over. */
  started: number;
  /** An addon that is there already, instead of one that is built. */
  built?: string;
  /** Steps to run, by name. Default: all of them. */
  only?: readonly string[];
  /** How many times as long everything may take. Default 1; emulated devices need more. */
  patience?: number;
}

/** Builds, runs each step, prints a table; returns the exit status, 1 when anything failed. */
export async function check({
  stage,
  out,
  program,
  started,
  built: given,
  only,
  patience = 1,
}: CheckOptions): Promise<number> {
  mkdirSync(out, { recursive: true });
  const log = join(out, "check.log");
  rmSync(log, { force: true });
  const results: StepResult[] = [];
  const left = (): number => started + patience * LIMIT_MS - Date.now();
  const finish = (result: StepResult): void => {
    results.push(result);
    writeJson(join(out, "results.json"), results);
    console.log(`${result.name}: ${result.status} in ${result.seconds.toFixed(1)} s`);
  };

  const began = Date.now();
  const built = given
    ? { file: given, architecture: "given", wrong: null }
    : await buildAddon(stage, log, Math.min(240_000, left()));
  finish({
    name: "build",
    status: built.wrong === null ? "passed" : "failed",
    seconds: (Date.now() - began) / 1000,
    reason: built.wrong ?? "",
    entries: built.wrong === null ? [{ name: `sm_${built.architecture}`, status: "passed" }] : [],
  });

  const cublas = pythonsCublas();
  let obstacle = built.wrong === null ? "" : "the addon was not built";
  for (const step of steps.filter(({ name }) => !only || only.includes(name))) {
    const limitMs = Math.min(patience * 1000 * step.seconds, left());
    const reason = step.needsDevice || built.wrong !== null ? obstacle : "";
    if (reason !== "") finish({ ...blank(step), status: "skipped", reason });
    else if (limitMs < 2000) finish({ ...blank(step), status: "not reached", reason: "the eight minutes were over" });
    else finish(await runInChild(step, { stage, out, log, program, binary: built.file, cublas, limitMs }));
    if (step.runs === "doctor" && obstacle === "") obstacle = whyNoDevice(results.at(-1)!);
  }
  console.log(`\n${tableOf(results)}`);
  return results.some(({ status }) => status === "failed") ? 1 : 0;
}

const blank = ({ name }: Step) => ({ name, seconds: 0, entries: [] });

// The device counts also where doctor then came to grief over a tool.
function whyNoDevice({ status, reason, entries }: StepResult): string {
  const device = entries.find(({ name }) => name.startsWith("cuda:0"));
  if (device) return device.status === "passed" ? "" : (device.reason ?? "no CUDA device");
  return status === "failed" ? `doctor failed: ${reason}` : "no CUDA device";
}

interface Around {
  stage: string;
  out: string;
  log: string;
  program: string;
  /** The addon. */
  binary: string;
  cublas: Readonly<Record<string, string>>;
  limitMs: number;
}

async function runInChild(
  step: Step,
  { stage, out, log, program, binary, cublas, limitMs }: Around,
): Promise<StepResult> {
  const began = Date.now();
  const file = join(out, "step.json");
  rmSync(file, { force: true });
  const own = [process.execPath, resolve(program), "step", step.runs, file];
  let command = own;
  if (step.sanitizer) {
    const { line, reason } = ask("compute-sanitizer", "--version");
    if (line === null) return { ...blank(step), status: "skipped", reason };
    command = [
      "compute-sanitizer",
      "--tool",
      step.sanitizer,
      "--error-exitcode",
      "86",
      "--launch-timeout",
      "0",
      ...own,
    ];
  }
  const peer = resolve(stage, "peers", "torch_mini_diffuser.py");
  const env = { MD_NATIVE_BINARY: binary, MD_TORCH_MINI_DIFFUSER: peer, ...cublas };
  const ending = await run(command[0]!, command.slice(1), {
    log,
    limitMs,
    env,
  });
  const entries = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Entry[]) : [];
  rmSync(file, { force: true });
  return { name: step.name, seconds: (Date.now() - began) / 1000, entries, ...verdict(step, ending, entries) };
}

function verdict(
  { sanitizer }: Step,
  { wrong, tail }: { wrong: string | null; tail: string },
  entries: readonly Entry[],
): Pick<StepResult, "status" | "reason"> {
  const failed = count(entries, "failed");
  // Some virtual machines refuse the tool before it has run anything.
  if (sanitizer && wrong !== null && entries.length === 0 && /not supported|initialization failed/i.test(tail))
    return { status: "skipped", reason: `compute-sanitizer was refused: ${tail.trim().split("\n").at(-1)}` };
  if (wrong !== null) return { status: "failed", reason: `${wrong}\n${tail}` };
  if (failed > 0) return { status: "failed", reason: `${failed} of ${entries.length} failed` };
  if (count(entries, "passed") > 0) return { status: "passed", reason: "" };
  return { status: "skipped", reason: entries[0]?.reason ?? "there was nothing to run" };
}
