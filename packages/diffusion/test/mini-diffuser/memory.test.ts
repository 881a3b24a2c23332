import { Generator, memory, resetPeakMemory, scope } from "@md/tensor";
import { describe, expect, it } from "vitest";
import type { PolicyBatch } from "../../src/index.js";
import { makePolicy, small, surfaceBatch } from "./small.js";

/** The same scene so many times: nothing but their number changes. */
function repeated(size: number): PolicyBatch {
  const one = surfaceBatch(1, { points: 200 });
  const fields = Object.entries(one).map(([name, value]: [string, unknown]) => {
    if (!(value instanceof Float32Array || value instanceof Int32Array)) return [name, value];
    const all =
      value instanceof Int32Array ? new Int32Array(size * value.length) : new Float32Array(size * value.length);
    for (let i = 0; i < size; i++) all.set(value, i * value.length);
    return [name, all];
  });
  return { ...(Object.fromEntries(fields) as PolicyBatch), size };
}

/** What a training step holds at its peak beside the parameters. */
function peakBytes(size: number, samples: number): number {
  const policy = makePolicy({ ...small, samples });
  const batch = repeated(size);
  const before = memory().liveBytes;
  resetPeakMemory();
  scope(() => policy.loss(batch, new Generator(2)).loss.backward());
  const { peakBytes } = memory();
  policy.dispose();
  return peakBytes - before;
}

// How far the last of three is from the line through the first two.
function offLine(x: readonly number[], y: readonly number[]): number {
  const slope = (y[1]! - y[0]!) / (x[1]! - x[0]!);
  return Math.abs(y[2]! / (y[1]! + slope * (x[2]! - x[1]!)) - 1);
}

describe("memory of a training step grows along a straight line", () => {
  it.each([1, 16])("with the scenes of a batch, %i samples each", (samples) => {
    const sizes = [4, 8, 16];
    const bytes = sizes.map((size) => peakBytes(size, samples));
    expect(bytes[2]! / bytes[0]!).toBeGreaterThan(2);
    expect(offLine(sizes, bytes)).toBeLessThan(0.02);
  });

  it("with the samples of a scene", () => {
    const samples = [64, 128, 256];
    const bytes = samples.map((count) => peakBytes(2, count));
    expect(bytes[2]! / bytes[0]!).toBeGreaterThan(1.2);
    expect(offLine(samples, bytes)).toBeLessThan(0.02);
  });
});
