import { describe, expect, it } from "vitest";
import { rotationBinsToQuaternion, turnQuaternionAboutZ } from "@md/rlbench-data";
import { formatTable, percent } from "../src/evaluate/groups.js";
import { aggregate, binned, exactly, median } from "../src/evaluate/predict.js";
import { score, summarize, type Truth } from "../src/evaluate/score.js";
import { densest } from "../src/demo/answers.js";
import { ticks } from "../src/report/svg.js";

const bins = [36, 30, 71];
const truth: Truth = {
  position: [0.1, 0.2, 0.3],
  quaternion: turnQuaternionAboutZ(rotationBinsToQuaternion(bins), 2),
  rotationBins: bins,
  open: 1,
};

describe("aggregate", () => {
  it("takes the median position, the most frequent bins and the mean opening of a scene's candidates", () => {
    const predictions = aggregate({
      size: 2,
      candidates: 3,
      horizon: 1,
      position: Float32Array.of(1, 1, 1, 2, 5, 3, 3, 3, 9, ...new Array<number>(9).fill(7)),
      rotationBins: Int32Array.of(5, 1, 2, 5, 2, 2, 6, 2, 1, ...new Array<number>(9).fill(71)),
      open: Float32Array.of(0.9, 0.4, 0.3, 0, 0, 0.1),
    });
    expect(predictions[0]).toEqual({ position: [2, 3, 3], ...binned([5, 2, 2]), open: 1 });
    expect(predictions[1]).toEqual({ position: [7, 7, 7], ...binned([71, 71, 71]), open: 0 });
  });

  it("takes the rotation in the middle where a policy gives rotations exactly, and not its bins", () => {
    const at = (degrees: number): number[] => turnQuaternionAboutZ(truth.quaternion, degrees);
    const sample = {
      size: 1,
      candidates: 4,
      horizon: 1,
      position: new Float32Array(12),
      rotationBins: new Int32Array(12).fill(3),
      // The same rotation has two quaternions.
      quaternion: Float32Array.from([...at(40), ...at(1), ...at(-1), ...at(0).map((value) => -value)]),
      open: new Float32Array(4),
    };
    const [prediction] = aggregate(sample);
    const { rotationError } = score(prediction!, truth);
    expect(rotationError).toBeLessThan(1.01);
    expect(prediction!.rotationBins).toEqual(bins);
    const [alone] = aggregate({ ...sample, candidates: 1, quaternion: Float32Array.from(at(0)) });
    expect(score(alone!, truth).rotationError).toBeLessThan(1e-3);
    expect(score({ ...alone!, ...binned(alone!.rotationBins) }, truth).rotationError).toBeCloseTo(2, 2);
  });

  it("has a median of even and odd counts", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(median([])).toBeNaN();
  });
});

describe("score", () => {
  it("measures position, rotation, bins round the circle, and gripper", () => {
    const close = score({ position: [0.1, 0.2, 0.315], ...binned([36, 31, 0]), open: 1 }, truth);
    expect(close.positionError).toBeCloseTo(0.015, 12);
    expect(close.offset[2]).toBeCloseTo(0.015, 12);
    expect(close.besideBin).toBe(true);
    expect(close.rotationFloor).toBeCloseTo(2, 9);
    expect(close.gripperCorrect).toBe(true);
    const exact = score(
      { position: [0.1, 0.2, 0.3], ...exactly([0, 0, 0, 1]), open: 1 },
      { ...truth, quaternion: [0, 0, 0, 2] },
    );
    expect(exact.rotationError).toBe(0);
    const far = score({ position: [0.1, 0.2, 0.3], ...binned([36, 32, 71]), open: 0 }, truth);
    expect(far.besideBin).toBe(false);
    expect(far.rotationError).toBeGreaterThan(5);
    const { within1cm, within2cm, ceiling3deg, gripperAccuracy, besideBin } = summarize([close, far]);
    expect({ within1cm, within2cm, ceiling3deg, gripperAccuracy, besideBin }).toEqual({
      within1cm: 0.5,
      within2cm: 1,
      ceiling3deg: 1,
      gripperAccuracy: 0.5,
      besideBin: 0.5,
    });
  });
});

describe("densest", () => {
  it("finds the larger of two clusters, and a candidate rather than a mean", () => {
    expect(densest(Float32Array.of(0, 0, 0, 0.5, 0, 0, 0.501, 0, 0, 1, 1, 1))[0]).toBeCloseTo(0.5, 2);
  });
});

describe("tables and axes", () => {
  it("aligns columns", () => {
    expect(
      formatTable({
        titles: ["", "n"],
        rows: [
          ["policy", "3"],
          ["a", "10"],
        ],
      }),
    ).toBe("         n\npolicy   3\na       10");
    expect([percent(1), percent(0.995), percent(0)]).toEqual(["100%", "99.5%", "0%"]);
  });

  it("puts ticks at round numbers within the limits", () => {
    expect(ticks([0, 100])).toEqual([0, 20, 40, 60, 80, 100]);
    expect(ticks([-3, 3])).toEqual([-2, 0, 2]);
    for (const limits of [
      [0, 0.1],
      [0, 1437],
      [-0.1, 0.5],
    ] as const) {
      const marks = ticks(limits);
      expect(marks.length).toBeGreaterThanOrEqual(3);
      expect(marks[0]).toBeGreaterThanOrEqual(limits[0]);
      expect(marks.at(-1)).toBeLessThanOrEqual(limits[1] + 1e-9);
    }
  });
});
