import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pickle, pyArray, PickleError, pyFloat, pyInstance } from "@md/pickle";
import { expect, test } from "vitest";
import { DataError, openRLBench, readLowDim, readPickle } from "../src/index.js";
import { lowDimFolder, missing } from "./support/paths.js";
import { temporaryFolder } from "./support/temporary-folder.js";

test("a class that is no simulator's is refused by name", () => {
  const file = join(temporaryFolder(), "evil.pkl");
  for (const name of ["os\nsystem", "rlbench\n__import__('os')", "rlbenchmark.demo\nDemo"]) {
    writeFileSync(file, `c${name}\n)R.`);
    expect(() => readPickle(file)).toThrow(PickleError);
    expect(() => readPickle(file)).toThrow(name.replace("\n", "."));
  }
});

test("a missing file is named", () => {
  const file = join(temporaryFolder(), "none.pkl");
  expect(() => readPickle(file)).toThrow(DataError);
  expect(() => readPickle(file)).toThrow(file);
});

test("low-dimensional recordings: what is missing is named", () => {
  const directory = temporaryFolder();
  const write = (observation: Record<string, Parameters<typeof pickle>[0]>): void => {
    const demo = pyInstance("rlbench.demo", "Demo", {
      _observations: [pyInstance("rlbench.backend.observation", "Observation", observation)],
    });
    writeFileSync(join(directory, "low_dim_obs.pkl"), pickle(demo));
  };
  const pose = pyArray(Float64Array.of(1, 2, 3, 0, 0, 0, 1), [7]);
  write({ gripper_pose: pose, gripper_open: pyFloat(1) });
  expect(readLowDim({ directory }).frames[0]).toMatchObject({ gripperOpen: 1, jointVelocities: null });
  write({ gripper_open: pyFloat(1) });
  expect(() => readLowDim({ directory })).toThrow(/low_dim_obs\.pkl.*frame 0: gripper_pose is missing/);
  write({ gripper_pose: pyArray(new Float64Array(6), [6]), gripper_open: pyFloat(1) });
  expect(() => readLowDim({ directory })).toThrow(/expected 7 numbers/);
  write({ gripper_pose: pyArray(new Float64Array(7).fill(NaN), [7]), gripper_open: pyFloat(1) });
  expect(() => readLowDim({ directory })).toThrow(/not finite/);
  write({ gripper_pose: pose, gripper_open: pyFloat(NaN) });
  expect(() => readLowDim({ directory })).toThrow(/gripper_open/);
  writeFileSync(join(directory, "low_dim_obs.pkl"), pickle([]));
  expect(() => readLowDim({ directory })).toThrow(/at least one observation/);
});

test("reads AMSolver recordings", (ctx) => {
  const reason = missing(lowDimFolder);
  if (reason) {
    console.warn(`AMSolver recordings skipped: ${reason}`);
    ctx.skip(reason);
  }
  const root = openRLBench(lowDimFolder);
  for (const episode of root.tasks.flatMap((task) => root.episodes(task))) {
    const { frames } = readLowDim(episode);
    expect(frames.length).toBeGreaterThan(10);
    expect(frames[0].gripperPose).toHaveLength(7);
    expect(frames[0].cameras.size).toBeGreaterThan(0);
  }
});
