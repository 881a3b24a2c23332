import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { lastError } from "../peers/peer-process.js";

/** How a program is started whose memory is measured. */
export interface Program {
  command: string;
  args: readonly string[];
}

// How often it is asked. Memory that is taken for less than this before the end may be missed.
const everyMs = 20;

/**
 * Bytes of resident memory that a program held at its peak, all of its libraries included: the kernel's high-water mark
 * of the process (`VmHWM`), which begins anew when it becomes another program. Linux alone. Error with what the program
 * said last where it fails.
 */
export function peakResidentBytes({ command, args }: Program): Promise<number> {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  let peak = NaN;
  let said = "";
  const look = setInterval(() => {
    peak = highWaterMark(child.pid) ?? peak;
  }, everyMs);
  child.stderr.on("data", (chunk: Uint8Array) => {
    said = (said + chunk.toString()).slice(-10_000);
  });
  return new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code !== 0) {
        const words = lastError(said.split("\n").filter(Boolean)) ?? "it said nothing";
        reject(new Error(`${command} left with ${signal ?? `status ${code}`}: ${words}`));
      } else if (Number.isNaN(peak)) reject(new Error(`${command}: /proc/${child.pid}/status was not to be read`));
      else resolve(peak);
    });
  }).finally(() => clearInterval(look));
}

function highWaterMark(pid: number | undefined): number | undefined {
  try {
    const kilobytes = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return kilobytes === undefined ? undefined : 1024 * Number(kilobytes);
  } catch {
    return undefined; // It has ended.
  }
}
