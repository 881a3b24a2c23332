import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  centerCloud,
  centroid,
  collate,
  CounterRandom,
  DataError,
  type Demonstration,
  drawBatch,
  heightFeature,
  type LinkBox,
  openDemonstration,
  openRLBench,
  pointCount,
  type PointCloud,
  type Quaternion,
  prepareCloud,
  prepareKeyPoses,
  quaternionToRotationBins,
  removeLocalOutliers,
  removeStatisticalOutliers,
  RLBENCH_WORKSPACE_CENTER,
  samplePointsNear,
  scaleColors,
  turnQuaternionAboutZ,
} from "../src/index.js";
import { findNeighbors } from "../src/pipeline/neighbors.js";
import { missing, rlbenchFolder } from "./support/paths.js";

type Point = readonly [number, number, number];

function cloudOf(points: readonly Point[]): PointCloud {
  return {
    positions: Float32Array.from(points.flat()),
    colors: Float32Array.from(points.flatMap((_, i) => [i, 0, 1])),
  };
}

function scatter(count: number, seed: number, [width, depth, height]: Point, [x, y, z]: Point = [0, 0, 0]): Point[] {
  const random = new CounterRandom(seed);
  return Array.from({ length: count }, () => [
    x + random.between(-width, width),
    y + random.between(-depth, depth),
    z + random.between(-height, height),
  ]);
}

const names = ({ colors }: PointCloud): number[] => [...colors].filter((_, i) => i % 3 === 0);

describe("neighbours", () => {
  test.each([
    ["a box", scatter(500, 1, [1, 1, 1])],
    ["a plane", scatter(500, 2, [1, 1, 0])],
    ["a line", scatter(100, 3, [1, 0, 0])],
    ["two far clumps", [...scatter(100, 4, [0.1, 0.1, 0.1]), ...scatter(10, 5, [0.1, 0.1, 0.1], [50, 0, 0])]],
    ["one place", scatter(20, 6, [0, 0, 0])],
  ])("of %s are those of a search through all", (_, points) => {
    const cloud = cloudOf(points);
    const { k, indices, distances } = findNeighbors(cloud, 7);
    const { positions } = cloud;
    for (let i = 0; i < points.length; i++) {
      const all = points
        .map((_, j) => ({ j, d: Math.hypot(...[0, 1, 2].map((a) => positions[3 * i + a] - positions[3 * j + a])) }))
        .filter(({ j }) => j !== i)
        .sort((a, b) => a.d - b.d || a.j - b.j)
        .slice(0, k);
      expect([...indices.subarray(k * i, k * i + k)]).toEqual(all.map(({ j }) => j));
      all.forEach(({ d }, at) => expect(distances[k * i + at]).toBeCloseTo(d, 12));
    }
  });

  test("are refused where there are too few points or one has no place", () => {
    expect(() => findNeighbors(cloudOf(scatter(7, 1, [1, 1, 1])), 7)).toThrow(DataError);
    expect(() => findNeighbors(cloudOf([...scatter(7, 1, [1, 1, 1]), [NaN, 0, 0]]), 3)).toThrow(
      /point 7 is not finite/,
    );
  });
});

describe("outliers", () => {
  const dense = scatter(800, 1, [0.2, 0.2, 0]);
  const stray: Point[] = [
    [0, 0, 0.3],
    [0.1, 0.1, -0.25],
    [0.6, 0, 0],
  ];

  test.each([
    ["statistical", removeStatisticalOutliers],
    ["local", removeLocalOutliers],
  ])("%s: strays go, nearly all others stay, in order", (_, remove) => {
    const kept = names(remove(cloudOf([...dense, ...stray])));
    expect(kept.some((name) => name >= 800)).toBe(false);
    expect(kept.length).toBeGreaterThan(760);
    expect(kept).toEqual([...kept].sort((a, b) => a - b));
    // Few points tell nothing about what is usual.
    for (const few of [0, 1, 20]) expect(pointCount(remove(cloudOf(dense.slice(0, few))))).toBe(few);
    expect(() => remove(cloudOf([...dense, [Infinity, 0, 0]]))).toThrow(DataError);
  });

  test("local: a thin region is no outlier for being thin", () => {
    const thin = scatter(200, 3, [0.5, 0.5, 0], [3, 0, 0]);
    const kept = names(removeLocalOutliers(cloudOf([...dense, ...thin])));
    expect(kept.filter((name) => name >= 800).length).toBeGreaterThan(180);
    expect(
      names(removeStatisticalOutliers(cloudOf([...dense, ...thin]))).filter((name) => name >= 800).length,
    ).toBeLessThan(180);
  });

  test("options that make no sense", () => {
    expect(() => removeStatisticalOutliers(cloudOf(dense), { deviations: NaN })).toThrow(DataError);
    expect(() => removeLocalOutliers(cloudOf(dense), { neighbors: 0.5 })).toThrow(DataError);
  });
});

describe("sampling near the gripper", () => {
  const near = scatter(500, 1, [0.05, 0.05, 0.05]);
  const far = scatter(500, 2, [0.05, 0.05, 0.05], [1, 0, 0]);
  const cloud = cloudOf([...near, ...far]);
  const draw = (position: Point, count: number, seed = 1): number[] => [
    ...samplePointsNear(cloud, position, count, new CounterRandom(seed)),
  ];

  test("takes points near it first, each once, the same for the same seed", () => {
    const drawn = draw([0, 0, 0], 520);
    expect(new Set(drawn).size).toBe(520);
    expect(drawn.filter((i) => i < 500).length).toBeGreaterThan(490);
    expect(draw([1, 0, 0], 520).filter((i) => i >= 500).length).toBeGreaterThan(490);
    expect(drawn).toEqual(draw([0, 0, 0], 520));
    expect(drawn).not.toEqual(draw([0, 0, 0], 520, 2));
  });

  test("is as likely as its weights say", () => {
    // Two places, 0.2 and 0.25 m away: odds exp(5) to exp(4) in a draw of one.
    const pair = cloudOf([
      [0.2, 0, 0],
      [0.25, 0, 0],
    ]);
    let first = 0;
    for (let seed = 0; seed < 4000; seed++)
      if (samplePointsNear(pair, [0, 0, 0], 1, new CounterRandom(seed))[0] === 0) first++;
    expect(Math.abs(first / 4000 - Math.E / (1 + Math.E))).toBeLessThan(0.025);
  });

  test("a small cloud gives every point and some again; an empty one, or no place, is an error", () => {
    expect(new Set(draw([0, 0, 0], 1500)).size).toBe(1000);
    expect(() => samplePointsNear(cloudOf([]), [0, 0, 0], 4, new CounterRandom(1))).toThrow(/empty/);
    expect(() => draw([NaN, 0, 0], 10)).toThrow(/finite position/);
  });
});

test("features", () => {
  const cloud = cloudOf([
    [1, 2, 3],
    [3, 2, 1],
  ]);
  expect(centroid(cloud)).toEqual([2, 2, 2]);
  expect([...centerCloud(cloud, centroid(cloud)).positions]).toEqual([-1, 0, 1, 1, 0, -1]);
  expect([...heightFeature(cloud, 0.75)]).toEqual([2.25, 0.25]);
  expect([...scaleColors(Float32Array.of(0, 0.5, 1))]).toEqual([-1, 0, 1]);
  expect(() => centroid(cloudOf([]))).toThrow(DataError);
});

describe("preparation", () => {
  const box: LinkBox = {
    name: "link",
    part: "arm",
    position: [0, 0, 1],
    quaternion: [0, 0, 0, 1],
    min: [-0.1, -0.1, -0.1],
    max: [0.1, 0.1, 0.1],
  };
  const cloud = cloudOf([
    [0, 0, 1],
    [0.3, 0, 1],
  ]);

  test("removes the robot where asked to, and says so where it cannot", () => {
    expect(pointCount(prepareCloud(cloud, {}, "cloud"))).toBe(2);
    expect(pointCount(prepareCloud(cloud, { removeRobot: "arm" }, "cloud", [box]))).toBe(1);
    expect(pointCount(prepareCloud(cloud, { removeRobot: "arm" }, "cloud", [{ ...box, part: "gripper" }]))).toBe(2);
    expect(
      pointCount(prepareCloud(cloud, { removeRobot: "arm and gripper" }, "cloud", [{ ...box, part: "gripper" }])),
    ).toBe(1);
    expect(() => prepareCloud(cloud, { removeRobot: "arm" }, "episode3 frame 7")).toThrow(
      /episode3 frame 7\] has neither/,
    );
    const all = { ...box, min: [-9, -9, -9] as const, max: [9, 9, 9] as const };
    expect(() => prepareCloud(cloud, { removeRobot: "arm" }, "cloud", [all])).toThrow(/nothing but robot/);
  });

  test("drops outliers after voxels", () => {
    const scene = cloudOf([...scatter(2000, 1, [0.2, 0.2, 0], [0.2, 0, 1]), [0.2, 0, 1.4]]);
    const plain = prepareCloud(scene, {}, "scene");
    for (const outliers of ["statistical", "local"] as const) {
      const prepared = prepareCloud(scene, { outliers }, "scene");
      expect(pointCount(prepared)).toBeLessThan(pointCount(plain));
      expect(Math.max(...prepared.positions)).toBeLessThan(1.1);
    }
  });

  test("without points, or with one, or with one that has no place", () => {
    expect(() => prepareCloud(cloudOf([]), {}, "cloud")).toThrow(/is empty/);
    expect(pointCount(prepareCloud(cloudOf([[0, 0, 1]]), { outliers: "local" }, "cloud"))).toBe(1);
    expect(() => prepareCloud(cloudOf([[0, NaN, 1]]), {}, "cloud")).toThrow(DataError);
  });
});

describe("batches", () => {
  const demonstration: Demonstration = {
    task: "t",
    id: "t/episode0",
    instructions: { texts: ["one", "two", "three"], source: "variation_descriptions" },
    states: [
      { position: [0.1, 0.1, 1], quaternion: [0, 0, 0, 1], open: 1 },
      { position: [0.3, -0.1, 0.9], quaternion: [0.5, 0.5, 0.5, 0.5], open: 0 },
    ],
    keyFrames: [1],
    observe: () => cloudOf(scatter(3000, 1, [0.3, 0.3, 0.1], [0.2, 0, 1])),
    linkBoxes: () => [
      {
        name: "link",
        part: "arm",
        position: [0.2, 0, 1],
        quaternion: [0, 0, 0, 1],
        min: [-0.1, -1, -1],
        max: [0.1, 1, 1],
      },
    ],
  };
  const dataset = prepareKeyPoses([demonstration]);
  const options = { seed: 3, step: 5, batchSize: 4, points: 200 };

  test("the robot's boxes reach the clouds that are kept", () => {
    const cleared = prepareKeyPoses([demonstration], { removeRobot: "arm" }).samples[0].cloud;
    expect(pointCount(cleared)).toBeLessThan(0.8 * pointCount(dataset.samples[0].cloud));
    expect(cleared.positions.some((x, i) => i % 3 === 0 && Math.abs(x - 0.2) < 0.095)).toBe(false);
    const without = { ...demonstration, linkBoxes: undefined };
    expect(() => prepareKeyPoses([without], { removeRobot: "arm" })).toThrow(/t\/episode0 frame 0\] has neither/);
    const boxes = demonstration.linkBoxes!(0).map((box) => ({ ...box, quaternion: [0, 0, 0, 2] as Quaternion }));
    expect(() => prepareKeyPoses([{ ...demonstration, linkBoxes: () => boxes }], { removeRobot: "arm" })).toThrow(
      /^\[t\/episode0 frame 0\] box of link has a quaternion of length 2, expected 1/,
    );
  });

  test("defaults draw what they always drew", () => {
    const plain = drawBatch(dataset, options);
    expect(drawBatch(dataset, { ...options, sampling: "uniform", pointJitter: 0 })).toEqual(plain);
    expect(collate(dataset, [0], { seed: 1, points: 50, sampling: "uniform" })).toEqual(
      collate(dataset, [0], { seed: 1, points: 50 }),
    );
  });

  test("point jitter moves points by up to its range, and nothing else", () => {
    const plain = drawBatch(dataset, { ...options, rotationRange: 45, jitter: 0.01 });
    const jittered = drawBatch(dataset, { ...options, rotationRange: 45, jitter: 0.01, pointJitter: 0.002 });
    const moved = jittered.points.map((value, i) => value - plain.points[i]);
    expect(moved.every((value) => Math.abs(value) <= 0.002 + 1e-6)).toBe(true);
    const mean = moved.reduce((sum, value) => sum + value, 0) / moved.length;
    const deviation = Math.sqrt(moved.reduce((sum, value) => sum + value ** 2, 0) / moved.length);
    expect(Math.abs(mean)).toBeLessThan(1e-4);
    expect(deviation).toBeCloseTo(0.002 / Math.sqrt(3), 4);
    expect({ ...jittered, points: null }).toEqual({ ...plain, points: null });
  });

  test("cloud and poses turn together, whatever the options", () => {
    const batch = drawBatch(dataset, { ...options, rotationRange: 45, sampling: "near gripper" });
    const still = drawBatch(dataset, { ...options, rotationRange: 0, sampling: "near gripper" });
    expect(new Set(batch.turns).size).toBe(4);
    expect(batch.turns.every((turn) => Math.abs(turn) <= 45)).toBe(true);
    const [centerX, centerY] = RLBENCH_WORKSPACE_CENTER;
    for (let b = 0; b < batch.size; b++) {
      const angle = (-batch.turns[b] * Math.PI) / 180;
      const back = (values: Float32Array, at: number): number[] => {
        const [x, y] = [values[at] - centerX, values[at + 1] - centerY];
        return [
          Math.cos(angle) * x - Math.sin(angle) * y + centerX,
          Math.sin(angle) * x + Math.cos(angle) * y + centerY,
          values[at + 2],
        ];
      };
      for (let i = 0; i < options.points; i++) {
        const at = 3 * (b * options.points + i);
        back(batch.points, at).forEach((value, axis) => expect(value).toBeCloseTo(still.points[at + axis], 5));
      }
      back(batch.targetPosition, 3 * b).forEach((v, axis) =>
        expect(v).toBeCloseTo(still.targetPosition[3 * b + axis], 5),
      );
      back(batch.proprio, 8 * b).forEach((v, axis) => expect(v).toBeCloseTo(still.proprio[8 * b + axis], 5));
      const turned = turnQuaternionAboutZ([0.5, 0.5, 0.5, 0.5], batch.turns[b]);
      turned.forEach((value, k) => expect(batch.targetQuaternion[4 * b + k]).toBeCloseTo(value, 5));
      expect([...batch.targetRotationBins.subarray(3 * b, 3 * b + 3)]).toEqual(quaternionToRotationBins(turned));
    }
  });

  test("every option is a function of seed and step alone", () => {
    const full = { ...options, rotationRange: 45, jitter: 0.01, pointJitter: 0.002, sampling: "near gripper" as const };
    const batch = drawBatch(dataset, full);
    drawBatch(dataset, { ...full, step: 9 });
    expect(drawBatch(prepareKeyPoses([demonstration]), full)).toEqual(batch);
    expect(drawBatch(dataset, { ...full, seed: 4 }).points).not.toEqual(batch.points);
    expect(drawBatch(dataset, { ...full, step: 6 }).points).not.toEqual(batch.points);
  });

  // A run that is resumed must draw what it would have drawn when it began.
  test("what is drawn without new options does not change from version to version", () => {
    const batch = drawBatch(dataset, { ...options, rotationRange: 45, jitter: 0.01 });
    const hash = createHash("sha256");
    for (const values of [batch.points, batch.colors, batch.proprio, batch.targetPosition, batch.targetQuaternion])
      hash.update(new Uint8Array(values.buffer));
    expect(hash.digest("hex")).toBe("1b6e11304671f88b9e6f7229ed788504e976b927b0691622cd353b8ead19af0d");
  });

  test("ranges that make no sense", () => {
    for (const pointJitter of [-1, NaN, Infinity])
      expect(() => drawBatch(dataset, { ...options, pointJitter })).toThrow(/pointJitter/);
  });

  test("a pose that is none", () => {
    const states = [
      demonstration.states[0],
      { ...demonstration.states[1], position: [NaN, 0, 1] as [number, number, number] },
    ];
    expect(() => prepareKeyPoses([{ ...demonstration, states }])).toThrow(/t\/episode0 frame 1\].*not finite/);
  });
});

test("real demonstrations without their robot", { timeout: 60_000 }, (context) => {
  const skip = missing(rlbenchFolder);
  if (skip !== undefined) return context.skip(skip);
  const [episode] = openRLBench(rlbenchFolder).episodes("open_drawer");
  const counts = (["nothing", "arm", "arm and gripper"] as const).map((removeRobot) =>
    pointCount(prepareKeyPoses([openDemonstration(episode)], { removeRobot }).samples[0].cloud),
  );
  expect(counts[1]).toBeLessThan(0.95 * counts[0]);
  expect(counts[2]).toBeLessThan(counts[1]);
  expect(counts[2]).toBeGreaterThan(0.5 * counts[0]);
});
