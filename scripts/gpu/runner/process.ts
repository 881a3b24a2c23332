import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";

/** How a process ended: what is wrong with it, or null. */
export interface Ending {
  wrong: string | null;
  timedOut: boolean;
  /** The last of what it printed. */
  tail: string;
}

const TAIL = 2000;

/** Runs a program, its output into `log`, and kills it with all that it started after `limitMs`. */
export async function run(
  command: string,
  args: readonly string[],
  { log, limitMs, env = {} }: { log: string; limitMs: number; env?: Readonly<Record<string, string>> },
): Promise<Ending> {
  const file = createWriteStream(log, { flags: "a" });
  file.write(`## ${[command, ...args].join(" ")}\n`);
  // A process group of its own, so that compilers and peers end with it.
  const child = spawn(command, args, {
    detached: true,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let tail = "";
  const take = (chunk: Buffer): void => {
    file.write(chunk);
    tail = (tail + chunk.toString()).slice(-TAIL);
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  }, limitMs);
  const wrong = await new Promise<string | null>((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("close", (status, signal) => resolve(status === 0 ? null : `left with ${signal ?? `status ${status}`}`));
  });
  clearTimeout(timer);
  file.end();
  await finished(file);
  return { wrong: timedOut ? `stopped after ${Math.round(limitMs / 1000)} s` : wrong, timedOut, tail };
}
