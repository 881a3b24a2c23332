import { join } from "node:path";
import { expect, test } from "vitest";
import {
  cameraPointCloud,
  cropToBounds,
  DataError,
  discoverKeyPoses,
  listCameras,
  makeReachEpisode,
  makeReachScene,
  openDemonstration,
  openRLBench,
  pointCount,
  readCameraFrame,
  readInstructions,
  readLowDim,
  readPickle,
  readReachScene,
  removeTable,
  RLBENCH_BOUNDS,
  RLBENCH_TABLE_HEIGHT,
  SPHERE_COLORS,
  SYNTHETIC_CAMERAS,
  SYNTHETIC_TABLE,
  SYNTHETIC_TASK,
  toDemonstration,
  writeSyntheticReach,
} from "../src/index.js";
import { temporaryFolder } from "./support/temporary-folder.js";

const SCENES = 300;

test("scenes are as promised", () => {
  let ambiguous = 0;
  let twins = 0;
  const named = new Set<string>();
  const counts = new Set<number>();
  for (let index = 0; index < SCENES; index++) {
    const scene = makeReachScene(11, index);
    const { spheres, target, color, instruction } = scene;
    counts.add(spheres.length);
    named.add(color);
    expect(instruction).toBe(`reach the ${color} sphere`);
    expect(spheres[target].color).toBe(color);
    const same = spheres.filter((sphere) => sphere.color === color).length;
    expect(same).toBe(scene.ambiguous ? 2 : 1);
    expect(new Set(spheres.map((sphere) => sphere.color)).size).toBe(spheres.length - (scene.ambiguous ? 1 : 0));
    if (scene.ambiguous) {
      ambiguous++;
      if (spheres.findIndex((sphere) => sphere.color === color) === target) twins++;
    }
    for (const [i, { position, radius }] of spheres.entries()) {
      expect(radius).toBeLessThanOrEqual(0.025);
      expect(position[2]).toBeCloseTo(SYNTHETIC_TABLE.center[2] + radius, 12);
      for (const axis of [0, 1])
        expect(Math.abs(position[axis] - SYNTHETIC_TABLE.center[axis]) + radius).toBeLessThan(
          SYNTHETIC_TABLE.size[axis] / 2,
        );
      for (const other of spheres.slice(i + 1)) {
        const apart = Math.hypot(...[0, 1, 2].map((axis) => position[axis] - other.position[axis]));
        expect(apart - radius - other.radius).toBeGreaterThanOrEqual(0.06);
      }
    }
  }
  expect(ambiguous).toBe(SCENES / 10);
  expect(twins).toBeGreaterThan(ambiguous / 5);
  expect(twins).toBeLessThan((ambiguous * 4) / 5);
  expect([...counts].sort()).toEqual([3, 4, 5]);
  expect(named.size).toBe(Object.keys(SPHERE_COLORS).length);
  expect(named.size).toBeGreaterThanOrEqual(6);
});

test("every sphere is seen, in its colour, and every seen point lies on a sphere", () => {
  for (let index = 0; index < 40; index++) {
    const { scene, views } = makeReachEpisode(12, index);
    const seen = scene.spheres.map(() => 0);
    for (const [camera, view] of views) {
      const cloud = removeTable(cropToBounds(cameraPointCloud(view, camera), RLBENCH_BOUNDS), RLBENCH_TABLE_HEIGHT);
      for (let i = 0; i < pointCount(cloud); i++) {
        const errors = scene.spheres.map(({ position, radius }) =>
          Math.abs(Math.hypot(...position.map((value, axis) => cloud.positions[3 * i + axis] - value)) - radius),
        );
        const nearest = errors.indexOf(Math.min(...errors));
        expect(errors[nearest]).toBeLessThan(0.002);
        seen[nearest]++;
        const base: readonly number[] = SPHERE_COLORS[scene.spheres[nearest].color];
        const brightness = cloud.colors[3 * i + base.indexOf(Math.max(...base))] / Math.max(...base);
        for (let channel = 0; channel < 3; channel++)
          expect(cloud.colors[3 * i + channel]).toBeCloseTo(base[channel] * brightness, 1);
      }
    }
    expect(Math.min(...seen)).toBeGreaterThan(20);
  }
});

test("what is written reads back", () => {
  const root = temporaryFolder();
  writeSyntheticReach({ root, episodes: 3, seed: 4 });
  const { tasks, episodes } = openRLBench(root);
  expect(tasks).toEqual([SYNTHETIC_TASK]);
  const found = episodes(SYNTHETIC_TASK);
  expect(found.map((episode) => episode.index)).toEqual([0, 1, 2]);
  for (const episode of found) {
    const made = makeReachEpisode(4, episode.index);
    const lowDim = readLowDim(episode);
    expect(readReachScene(episode)).toEqual(made.scene);
    expect(readInstructions(episode)).toEqual({ texts: [made.scene.instruction], source: "variation_descriptions" });
    expect(lowDim.frames).toEqual(made.frames);
    expect(discoverKeyPoses(lowDim.frames)).toEqual([lowDim.frames.length - 1]);
    expect([...lowDim.frames.at(-1)!.gripperPose.slice(0, 3)]).toEqual(made.scene.spheres[made.scene.target].position);
    expect(listCameras(episode)).toEqual([...SYNTHETIC_CAMERAS.keys()].sort());
    expect(readPickle(join(episode.directory, "variation_number.pkl"))).toBe(
      Object.keys(SPHERE_COLORS).indexOf(made.scene.color),
    );
    for (const [camera, view] of made.views) {
      const read = readCameraFrame(episode, lowDim, camera, 2);
      expect(Buffer.compare(read.rgb, view.rgb)).toBe(0);
      expect(view.depth.every((depth, i) => Math.abs(read.depth[i] - depth) < 1e-6)).toBe(true);
    }
    const [disk, memory] = [openDemonstration(episode), toDemonstration(made)];
    expect({ ...disk, observe: null }).toEqual({ ...memory, observe: null });
    const [diskCloud, memoryCloud] = [disk.observe(0), memory.observe(0)];
    expect(diskCloud.colors.every((color, i) => color === memoryCloud.colors[i])).toBe(true);
    expect(diskCloud.positions.length).toBe(memoryCloud.positions.length);
    expect(() => memory.observe(3)).toThrow(DataError);
  }
});

test("same seed, same episode; other seed, other scene; nothing is overwritten", () => {
  const [once, again] = [makeReachEpisode(1, 5), makeReachEpisode(1, 5)];
  expect({ ...once, views: null }).toEqual({ ...again, views: null });
  for (const [camera, { rgb, depth }] of once.views) {
    const other = again.views.get(camera)!;
    expect(Buffer.compare(rgb, other.rgb)).toBe(0);
    expect(depth.every((value, i) => value === other.depth[i])).toBe(true);
  }
  expect(makeReachScene(1, 5)).not.toEqual(makeReachScene(2, 5));
  expect(makeReachScene(1, 5)).not.toEqual(makeReachScene(1, 6));
  const root = temporaryFolder();
  writeSyntheticReach({ root, episodes: 1, seed: 1 });
  expect(() => writeSyntheticReach({ root, episodes: 1, seed: 1 })).toThrow(/exists already/);
});
