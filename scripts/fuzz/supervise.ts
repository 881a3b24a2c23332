import { fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Finding } from "./cases.js";

/** What {@link supervise} runs. */
export interface Assignment {
  /** URL of a module that exports `targets`. */
  module: string;
  target: string;
  seed: number;
  /** Cases from the first to before the end. */
  first: number;
  end: number;
  onFinding: (finding: Finding) => void;
  onProgress?: (done: number) => void;
  /** After this long at one case the process is ended. Default 20 s: the worker itself measures its time. */
  patienceMs?: number;
}

const WORKER = fileURLToPath(new URL("./worker.ts", import.meta.url));
const HEAP_MEGABYTES = 1024;
const MAX_RESTARTS = 20;
const POLL_MS = 250;
const LOADING_MS = 60_000;

/**
 * Runs cases in a process of their own, with a heap of 1 GiB. A case that crashes the process, or that does not end, is
 * a finding, and another process goes on behind it. The number of cases that were run.
 */
export async function supervise(assignment: Assignment): Promise<number> {
  const { target, seed, first, end, onFinding } = assignment;
  const folder = mkdtempSync(join(tmpdir(), "fuzz-"));
  try {
    let next = first;
    for (let restarts = 0; next < end && restarts <= MAX_RESTARTS; restarts++) {
      const { at, ending } = await runWorker(assignment, next, folder);
      if (ending !== null) onFinding({ target, seed, case: at, kind: ending.replace(/ \([^]*/, ""), detail: ending });
      next = ending === null ? end : at + 1;
    }
    return next - first;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function runWorker(
  { module, target, seed, end, onFinding, onProgress, first, patienceMs = 20_000 }: Assignment,
  from: number,
  folder: string,
): Promise<{ at: number; ending: string | null }> {
  rmSync(join(folder, "case"), { force: true });
  const worker = fork(WORKER, [module, target, String(seed), String(from), String(end), folder], {
    execArgv: ["--conditions", "@md/source", "--import", "tsx", `--max-old-space-size=${HEAP_MEGABYTES}`],
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  let complaint = "";
  worker.stderr!.on("data", (text: Buffer) => (complaint = (complaint + text.toString()).slice(-4000)));
  worker.on("message", (finding) => onFinding(finding as Finding));
  const position = (): number => {
    try {
      return readFileSync(join(folder, "case")).readDoubleLE(0);
    } catch {
      return -1;
    }
  };
  let last = { at: -1, since: Date.now() };
  let hung = false;
  const watch = setInterval(() => {
    const at = position();
    if (at !== last.at) last = { at, since: Date.now() };
    if (at >= 0) onProgress?.(at - first);
    if (at < end && Date.now() - last.since > (at < 0 ? LOADING_MS : patienceMs)) {
      hung = true;
      worker.kill("SIGKILL");
    }
  }, POLL_MS);
  return new Promise((resolve, reject) => {
    worker.on("error", reject);
    worker.on("close", (code, signal) => {
      clearInterval(watch);
      const at = position();
      if (at === end) return resolve({ at, ending: null });
      if (at < 0) return reject(new Error(`the worker for ${target} did not start: ${complaint}`));
      const ending = hung
        ? `hang (no end after ${patienceMs} ms)`
        : `crash (${signal ?? `status ${code}`}: ${complaint})`;
      resolve({ at, ending });
    });
  });
}
