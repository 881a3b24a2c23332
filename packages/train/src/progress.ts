/** What a progress display shows. */
export interface ProgressState {
  step: number;
  /** Optimiser steps wanted; null where only time limits the run. */
  steps: number | null;
  /** Share of the budget used, 0 … 1. */
  progress: number;
  /** Steps a second. */
  rate: number;
  /** Seconds that a step waits for data. */
  dataSeconds: number;
  /** Seconds that are left, by the share used so far. */
  secondsLeft: number;
  loss: number;
  /** Steps that f16 left out so far; absent in other precisions. */
  skipped?: number;
}

/** Where a display writes; `process.stderr` is one. */
export interface ProgressStream {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

const BAR = 24;
const LINE_SECONDS = 10;

/** A bar that redraws itself on a terminal; elsewhere a plain line every ten seconds, and the last one. */
export class ProgressDisplay {
  private lastDrawn = -Infinity;
  private latest: ProgressState | null = null;

  constructor(private readonly stream: ProgressStream) {}

  update(state: ProgressState): void {
    this.latest = state;
    const now = performance.now() / 1000;
    if (now - this.lastDrawn < (this.stream.isTTY ? 0.1 : LINE_SECONDS)) return;
    this.lastDrawn = now;
    this.draw(state);
  }

  /** Draws the last state and leaves the line. */
  finish(): void {
    if (this.latest) this.draw(this.latest);
    if (this.stream.isTTY) this.stream.write("\n");
  }

  private draw(state: ProgressState): void {
    if (!this.stream.isTTY) {
      this.stream.write(`${describe(state)}\n`);
      return;
    }
    const filled = Math.round(BAR * Math.min(1, state.progress));
    const line = `[${"█".repeat(filled)}${"░".repeat(BAR - filled)}] ${describe(state)}`;
    this.stream.write(`\r\x1b[2K${line.slice(0, (this.stream.columns ?? 80) - 1)}`);
  }
}

function describe({ step, steps, progress, rate, dataSeconds, secondsLeft, loss, skipped }: ProgressState): string {
  const position = steps === null ? `step ${step}` : `step ${step}/${steps}`;
  const percent = `${Math.floor(100 * Math.min(1, progress))}%`;
  const speed = `${rate.toFixed(1)} steps/s, ${formatSeconds(secondsLeft)} left`;
  const left = skipped === undefined ? "" : `, ${skipped} skipped`;
  return `${position} ${percent} ${speed}, loss ${loss.toFixed(4)}, data_s ${dataSeconds.toFixed(4)}${left}`;
}

/** "1h 02m 03s", "2m 03s" or "3s". */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return "unknown";
  const whole = Math.max(0, Math.round(seconds));
  const two = (value: number): string => String(value).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (hours > 0) return `${hours}h ${two(minutes)}m ${two(rest)}s`;
  return minutes > 0 ? `${minutes}m ${two(rest)}s` : `${rest}s`;
}
