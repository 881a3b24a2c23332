import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Picklable, pickle, pyArray, PickleError, pyFloat, pyInstance } from "@md/pickle";
import { expect, test, vi } from "vitest";
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

test("low-dimensional recordings: what a short pickle may make long is bounded", () => {
  const directory = temporaryFolder();
  const file = join(directory, "low_dim_obs.pkl");
  const refuse = (content: Uint8Array, message: RegExp, type: typeof DataError | typeof PickleError): void => {
    writeFileSync(file, content);
    const read = vi.fn(readLowDim);
    expect(() => read({ directory })).toThrow(message);
    expect(read.mock.results[0].value).toBeInstanceOf(type);
  };
  const fields = {
    gripper_pose: pyArray(Float64Array.of(1, 2, 3, 0, 0, 0, 1), [7]),
    gripper_open: pyFloat(1),
  };
  const observation = (more: Record<string, Picklable> = {}): Picklable =>
    pyInstance("rlbench.backend.observation", "Observation", { ...fields, ...more });
  const one = observation();
  const frames = 2 ** 14 + 1;
  refuse(pickle(Array.from({ length: frames }, () => one)), /has 16385 frames, expected at most 16384/, DataError);
  const joints = pyArray(new Float64Array(65), [65]);
  for (const name of ["joint_velocities", "joint_positions", "gripper_joint_positions", "gripper_pose"])
    refuse(pickle([observation({ [name]: joints })]), RegExp(`frame 0: ${name} .*at most 64 numbers`), DataError);
  const calibration = (i: number): [string, Picklable][] => [
    [`c${i}_camera_intrinsics`, pyArray(new Float64Array(9), [3, 3])],
    [`c${i}_camera_extrinsics`, pyArray(new Float64Array(16), [4, 4])],
    [`c${i}_camera_near`, pyFloat(0.01)],
    [`c${i}_camera_far`, pyFloat(1)],
  ];
  const cameras = (count: number): Picklable => new Map(Array.from({ length: count }, (_, i) => calibration(i)).flat());
  writeFileSync(file, pickle([observation({ misc: cameras(32) })]));
  expect(readLowDim({ directory }).frames[0].cameras.size).toBe(32);
  refuse(pickle([observation({ misc: cameras(33) })]), /frame 0: misc has more than 32 cameras/, DataError);
  refuse(
    pickle([observation({ misc: new Map(calibration(0).slice(0, 1)) })]),
    /misc\.c0_camera_extrinsics is/,
    DataError,
  );
  refuse(pickle([one, pyFloat(1)]), /frame 1: observation is/, DataError);
  const long = pyArray(new Float64Array(7), [2 ** 30]);
  refuse(
    pickle([observation({ joint_positions: long })]),
    /low_dim_obs\.pkl\] array f8 \[1073741824\] needs \d+ bytes, found 56/,
    PickleError,
  );
  // Lists that hold one another twice, 31 deep: 2^31 elements when they are written out.
  const memo = (i: number): string => String.fromCharCode(i);
  const doubled = Array.from({ length: 31 }, (_, i) => `](h${memo(i)}h${memo(i)}eq${memo(i + 1)}`);
  refuse(Buffer.from(`(]q\0${doubled.join("")}l.`, "latin1"), /frame 0: observation is a list/, DataError);
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
