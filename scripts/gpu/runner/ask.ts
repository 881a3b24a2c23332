import { spawnSync } from "node:child_process";

/** The last line that a program prints; why there is none otherwise. */
export function ask(command: string, ...args: string[]): { line: string | null; reason: string } {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8", timeout: 30_000 });
  const lines = (status === 0 ? stdout : stderr || "").trim().split("\n");
  if (status === 0) return { line: lines.at(-1)!, reason: "" };
  return { line: null, reason: error ? `${command}: ${error.message}` : `${command}: ${lines.at(-1)}` };
}
