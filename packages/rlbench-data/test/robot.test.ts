import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  cameraPointCloud,
  CounterRandom,
  DataError,
  type LinkBox,
  listCameras,
  openRLBench,
  pandaLinkBoxes,
  pandaTipPose,
  pointCount,
  type PointCloud,
  readCameraFrame,
  readLowDim,
  removeRobot,
  storedLinkBox,
} from "../src/index.js";
import { readPng } from "../src/png.js";
import { lowDimFolder, missing, rlbenchFolder } from "./support/paths.js";

const REST = [0, 0.175, 0, -0.873, 0, 1.222, 0.785];
const OPEN = [0.04, 0.04];

function cloudOf(points: readonly (readonly number[])[]): PointCloud {
  return {
    positions: Float32Array.from(points.flat()),
    colors: Float32Array.from(points.flatMap((_, i) => [i, 0, 0])),
  };
}

const left = (cloud: PointCloud): number[] => [...cloud.colors].filter((_, i) => i % 3 === 0);

describe("removal by oriented boxes", () => {
  const half = Math.SQRT1_2;
  const turned: LinkBox = {
    name: "link",
    part: "arm",
    position: [1, 2, 3],
    quaternion: [0, 0, half, half],
    min: [0, -0.1, -0.1],
    max: [0.5, 0.1, 0.1],
  };
  const gripper: LinkBox = { ...turned, part: "gripper", min: [0.4, -0.1, -0.1], max: [0.6, 0.1, 0.1] };
  // The box's x axis points along the world's y.
  const cloud = cloudOf([
    [1, 2.2, 3],
    [1.2, 2.2, 3],
    [1, 1.9, 3],
    [1.05, 2.35, 2.95],
    [1, 2.45, 3],
    [1, 2.55, 3],
  ]);

  test("removes what lies within, and keeps what the gripper's boxes hold", () => {
    expect(left(removeRobot(cloud, [turned]))).toEqual([1, 2, 5]);
    expect(left(removeRobot(cloud, [turned, gripper]))).toEqual([1, 2, 4, 5]);
    expect(left(removeRobot(cloud, [turned, gripper], { keepGripper: false }))).toEqual([1, 2]);
    expect(pointCount(removeRobot(cloud, []))).toBe(6);
    expect(pointCount(removeRobot(cloudOf([]), [turned]))).toBe(0);
  });

  test("gives the same points whatever frame the scene is in", () => {
    const random = new CounterRandom(1);
    const points = Array.from({ length: 2000 }, () => [
      random.between(0, 2),
      random.between(1, 3),
      random.between(2, 4),
    ]);
    const boxes = [turned, gripper];
    const [cos, sin] = [Math.cos(1), Math.sin(1)];
    const turn = ([x, y, z]: readonly number[]): [number, number, number] => [cos * x - sin * y, sin * x + cos * y, z];
    const moved = boxes.map((box): LinkBox => {
      const angle = Math.PI / 2 + 1;
      return { ...box, position: turn(box.position), quaternion: [0, 0, Math.sin(angle / 2), Math.cos(angle / 2)] };
    });
    const remaining = left(removeRobot(cloudOf(points), boxes));
    expect(remaining.length).toBeLessThan(2000);
    expect(left(removeRobot(cloudOf(points.map(turn)), moved))).toEqual(remaining);
  });

  test("takes boxes as 3D-LOTUS stores them", () => {
    const box = Float32Array.of(-0.1, 0.1, -0.2, 0.2, -0.3, 0.3);
    const pose = Float32Array.of(1, 2, 3, 0, 0, 0, 1);
    const points = cloudOf([
      [1.05, 2.15, 3.25],
      [1.15, 2, 3],
      [1, 2.25, 3],
      [1, 2, 2.65],
    ]);
    const arm = storedLinkBox({ name: "Panda_link3_respondable", box, pose });
    expect(left(removeRobot(points, [arm]))).toEqual([1, 2, 3]);
    const fingers = ["Panda_leftfinger_visual", "Panda_gripper_visual"].map((name) =>
      storedLinkBox({ name, box, pose }),
    );
    expect(fingers.map(({ part }) => part)).toEqual(["gripper", "gripper"]);
    expect(left(removeRobot(points, fingers))).toEqual([0, 1, 2, 3]);
    expect(() => storedLinkBox({ name: "link", box, pose: box })).toThrow(/\[box of link\] has 6 and 6 numbers/);
  });

  test("refuses a box that is none", () => {
    const bad: [Partial<LinkBox>, RegExp][] = [
      [{ position: [NaN, 0, 0] }, /\[box of link\] is not finite/],
      [{ quaternion: [0, 0, 0, 0.5] }, /quaternion of length 0.5, expected 1/],
      [{ min: [1, 0, 0] }, /reaches from \[1, 0, 0\]/],
    ];
    for (const [part, message] of bad) {
      expect(() => removeRobot(cloud, [{ ...turned, ...part }])).toThrow(DataError);
      expect(() => removeRobot(cloud, [{ ...turned, ...part }])).toThrow(message);
    }
  });
});

describe("the Panda's kinematics", () => {
  test("at rest the tip is where RLBench's demonstrations begin", () => {
    const { position, quaternion } = pandaTipPose(REST);
    expect(Math.hypot(position[0] - 0.2785, position[1] + 0.0082, position[2] - 1.472)).toBeLessThan(0.002);
    expect(Math.abs(0.9927 * quaternion[1] + 0.1209 * quaternion[3])).toBeGreaterThan(0.9999);
  });

  test("turning the first joint turns everything about the base", () => {
    const tip = pandaTipPose(REST).position;
    const turned = pandaTipPose([Math.PI, ...REST.slice(1)]).position;
    const base = pandaLinkBoxes(REST, OPEN)[0].position;
    expect(turned[0] + tip[0]).toBeCloseTo(2 * base[0], 9);
    expect(turned[1] + tip[1]).toBeCloseTo(2 * base[1], 9);
    expect(turned[2]).toBeCloseTo(tip[2], 9);
  });

  test("the gripper's boxes, and no others, move with the fingers", () => {
    const [open, closed] = [pandaLinkBoxes(REST, OPEN), pandaLinkBoxes(REST, [0, 0])];
    const changed = open.filter((box, i) => JSON.stringify(box) !== JSON.stringify(closed[i])).map(({ name }) => name);
    expect(changed).toEqual(["finger1", "finger2"]);
    expect(open.filter(({ part }) => part === "arm")).toHaveLength(8);
  });

  test("refuses joints that are none", () => {
    expect(() => pandaTipPose(REST.slice(1))).toThrow(/joint_positions\] is .*expected 7 finite numbers/);
    expect(() => pandaTipPose([...REST.slice(1), NaN])).toThrow(DataError);
    expect(() => pandaLinkBoxes(REST, [0.04])).toThrow(/gripper_joint_positions/);
  });
});

test("forward kinematics meet the gripper poses of real demonstrations", (context) => {
  const roots = [rlbenchFolder, lowDimFolder].filter(existsSync);
  if (roots.length === 0) return context.skip(missing(rlbenchFolder));
  const errors = roots
    .map((root) => openRLBench(root))
    .flatMap((root) => root.tasks.flatMap((task) => root.episodes(task)))
    .flatMap((episode) => readLowDim(episode).frames)
    .map(({ jointPositions, jointVelocities, gripperPose }) => {
      const { position } = pandaTipPose(jointPositions!);
      return {
        error: Math.hypot(...position.map((value, axis) => value - gripperPose[axis])),
        still: Math.hypot(...jointVelocities!) < 0.01,
      };
    })
    .sort((a, b) => a.error - b.error);
  // Joints of the simulation that are moved or loaded give way a little more than 2 mm.
  expect(errors[Math.floor(errors.length / 2)].error).toBeLessThan(0.001);
  expect(errors.filter(({ error }) => error <= 0.002).length / errors.length).toBeGreaterThan(0.96);
  expect(errors.every(({ error }) => error <= 0.005)).toBe(true);
  expect(errors.filter(({ still }) => still).every(({ error }) => error <= 0.002)).toBe(true);
});

describe.each([
  ["open_drawer", true],
  ["open_drawer", false],
  ["reach_target", true],
  ["reach_target", false],
])("masks of %s, gripper kept: %s", (task, keepGripper) => {
  // Object handles of RLBench's scene in the masks.
  const GRIPPER = [31, 34, 35];
  const ARM = [39, 40, 41, 42, 43, 44, 45, 46];

  test("at least 98% of the robot's points go, at most 1% of others", { timeout: 60_000 }, (context) => {
    const skip = missing(join(rlbenchFolder, task));
    if (skip !== undefined) return context.skip(skip);
    const robotHandles = new Set(keepGripper ? ARM : [...ARM, ...GRIPPER]);
    const seen = { robot: 0, others: 0 };
    const removed = { robot: 0, others: 0 };
    const [episode] = openRLBench(rlbenchFolder).episodes(task);
    const lowDim = readLowDim(episode);
    for (let frame = 0; frame < lowDim.frames.length; frame += 10) {
      const { jointPositions, gripperJointPositions } = lowDim.frames[frame];
      const boxes = pandaLinkBoxes(jointPositions!, gripperJointPositions!);
      for (const camera of listCameras(episode)) {
        const view = readCameraFrame(episode, lowDim, camera, frame);
        const cloud = cameraPointCloud(view, camera);
        const pixels = view.width * view.height;
        for (let i = 0; i < pixels; i++) cloud.colors[3 * i] = i;
        const kept = new Set(left(removeRobot(cloud, boxes, { keepGripper })));
        const mask = readPng(join(episode.directory, `${camera}_mask`, `${frame}.png`), view.width, view.height).data;
        for (let i = 0; i < pixels; i++) {
          const handle = mask[3 * i] + 256 * mask[3 * i + 1] + 65536 * mask[3 * i + 2];
          const kind = robotHandles.has(handle) ? "robot" : "others";
          seen[kind]++;
          if (!kept.has(i)) removed[kind]++;
        }
      }
    }
    expect(seen.robot).toBeGreaterThan(10_000);
    expect(removed.robot / seen.robot).toBeGreaterThan(0.98);
    expect(removed.others / seen.others).toBeLessThan(0.01);
  });
});
