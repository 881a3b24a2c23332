import type { Reporter, TestModule } from "vitest/node";

/** Closes a run with one line: `N passed, N failed`, and `, N skipped` where tests were skipped. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(testModules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0, pending: 0 };
    for (const testModule of testModules) {
      const before = count.failed;
      for (const test of testModule.children.allTests()) count[test.result().state] += 1;
      // A file that cannot be loaded, or whose hooks throw, fails without a failing test.
      if (!testModule.ok() && count.failed === before) count.failed += 1;
    }
    // What was never run, because the run was cut short, has not passed.
    const failed = count.failed + count.pending;
    console.log(`\n${count.passed} passed, ${failed} failed${count.skipped > 0 ? `, ${count.skipped} skipped` : ""}`);
  }
}
