import { DeviceError } from "@md/tensor";

/** Outcome of a golden file: how many cases passed, failed or have nothing to be run by, and what went wrong. */
export interface GoldenReport {
  passed: number;
  failed: number;
  pending: number;
  messages: string[];
}

export const emptyReport = (): GoldenReport => ({ passed: 0, failed: 0, pending: 0, messages: [] });

/** Runs one case; whatever it throws makes it a failed one. */
export function runCase(report: GoldenReport, name: string, body: () => void): void {
  try {
    body();
    report.passed++;
  } catch (error) {
    fail(report, name, error);
  }
}

/** Whether it says that an op has no kernel on the device that it was asked to run on. */
export const lacksKernel = (error: unknown): error is DeviceError =>
  error instanceof DeviceError && error.message.includes("has no CUDA kernel");

function fail(report: GoldenReport, name: string, error: unknown): void {
  if (lacksKernel(error)) report.pending++;
  else report.failed++;
  report.messages.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
}
