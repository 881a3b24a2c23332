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

/** {@link runCase} of a case that takes its time. */
export async function runCaseAsync(report: GoldenReport, name: string, body: () => Promise<void>): Promise<void> {
  try {
    await body();
    report.passed++;
  } catch (error) {
    fail(report, name, error);
  }
}

function fail(report: GoldenReport, name: string, error: unknown): void {
  report.failed++;
  report.messages.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
}
