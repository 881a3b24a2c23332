import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

/** One line of `metrics.jsonl`. */
export type MetricsLine = { kind: "train" | "validation"; step: number } & Record<string, unknown>;

/** Appends metrics as JSON lines. */
export class MetricsLog {
  private constructor(private readonly file: string) {}

  /** A new log; an older one of that name is emptied. */
  static create(file: string): MetricsLog {
    writeFileSync(file, "");
    return new MetricsLog(file);
  }

  /** Goes on after `step`; lines of later steps, which a resumed run writes anew, are dropped. */
  static resume(file: string, step: number): MetricsLog {
    const kept = existsSync(file) ? readMetrics(file).filter((line) => line.step <= step) : [];
    writeFileSync(`${file}.tmp`, kept.map((line) => `${JSON.stringify(line)}\n`).join(""));
    renameSync(`${file}.tmp`, file);
    return new MetricsLog(file);
  }

  write(line: MetricsLine): void {
    appendFileSync(this.file, `${JSON.stringify(line)}\n`);
  }
}

/** The lines of a log; a last line that a kill cut short is left out. */
export function readMetrics(file: string): MetricsLine[] {
  const lines = readFileSync(file, "utf8").split("\n");
  lines.pop();
  return lines.map((line) => JSON.parse(line) as MetricsLine);
}
