import { describe, expect, it } from "vitest";
import { formatSeconds, ProgressDisplay, type ProgressState } from "../src/progress.js";
import { remainingSignalWarning } from "../src/run/signal.js";

const state: ProgressState = {
  step: 5,
  steps: 10,
  progress: 0.5,
  rate: 2,
  dataSeconds: 0.0021,
  secondsLeft: 2.5,
  loss: 0.25,
};

function written(stream: { isTTY?: boolean; columns?: number }, states: ProgressState[]): string[] {
  const parts: string[] = [];
  const display = new ProgressDisplay({ ...stream, write: (text) => parts.push(text) });
  for (const one of states) display.update(one);
  display.finish();
  return parts;
}

describe("ProgressDisplay", () => {
  it("redraws a bar that fits the terminal", () => {
    const [first, , end] = written({ isTTY: true, columns: 70 }, [state]);
    expect(first).toMatch(/^\r.*\[█{12}░{12}\] step 5\/10 50% 2.0 steps\/s, 3s left/s);
    expect(first!.replace("\r\x1b[2K", "").length).toBeLessThan(70);
    expect(end).toBe("\n");
  });

  it("writes plain lines elsewhere, not one a step", () => {
    const lines = written(
      {},
      Array.from({ length: 9 }, (_, i) => ({ ...state, steps: null, step: i })),
    );
    expect(lines).toEqual([
      "step 0 50% 2.0 steps/s, 3s left, loss 0.2500, data_s 0.0021\n",
      "step 8 50% 2.0 steps/s, 3s left, loss 0.2500, data_s 0.0021\n",
    ]);
  });

  it("writes durations as people do", () => {
    expect([0.4, 59.6, 61, 3723, Infinity].map(formatSeconds)).toEqual([
      "0s",
      "1m 00s",
      "1m 01s",
      "1h 02m 03s",
      "unknown",
    ]);
  });
});

describe("remainingSignalWarning", () => {
  it("warns of schedules that end with signal left, and of nothing else", () => {
    expect(remainingSignalWarning({ betaSchedule: "scaled_linear", numTrainTimesteps: 100 })).toMatch(
      /leaves \d\d% of the signal/,
    );
    expect(remainingSignalWarning({ betaSchedule: "squaredcos_cap_v2", numTrainTimesteps: 100 })).toBeNull();
    expect(remainingSignalWarning({})).toBeNull();
    const flow = { betaSchedule: "scaled_linear", numTrainTimesteps: 100, predictionType: "flow_prediction" };
    expect(remainingSignalWarning(flow)).toBeNull();
  });
});
