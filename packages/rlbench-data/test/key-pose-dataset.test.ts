import { beforeAll, expect, test } from "vitest";
import {
  collate,
  type Demonstration,
  drawBatch,
  hashedWordEncoder,
  type KeyPoseBatch,
  type KeyPoseDataset,
  makeReachEpisode,
  pointCount,
  positionBounds,
  prepareKeyPoses,
  quaternionToRotationBins,
  RLBENCH_WORKSPACE_CENTER,
  rotationErrorDegrees,
  toDemonstration,
  turnQuaternionAboutZ,
} from "../src/index.js";

const EPISODES = 7;
let dataset: KeyPoseDataset;

beforeAll(() => {
  dataset = prepareKeyPoses(
    Array.from({ length: EPISODES }, (_, i) => toDemonstration(makeReachEpisode(2, i))),
    { encoder: hashedWordEncoder(16) },
  );
});

/** A demonstration with given key frames whose clouds tell the frame they were seen at. */
function demonstrationOf(frames: number, keyFrames: number[]): Demonstration {
  return {
    task: "test",
    id: "test/episode0",
    instructions: { texts: ["one", "one two"], source: "variation_descriptions" },
    states: Array.from({ length: frames }, (_, i) => ({
      position: [i / 100, 0, 1],
      quaternion: [0, 0, 0, 1],
      open: 1,
    })),
    keyFrames,
    observe: (frame) => ({ positions: Float32Array.of(frame / 100, 0, 1), colors: Float32Array.of(0.1, 0.2, 0.3) }),
  };
}

test("key poses are seen from the key frame before", () => {
  const demonstration = demonstrationOf(10, [4, 7, 9]);
  const states = (options: object): number[][] =>
    prepareKeyPoses([demonstration], options).samples.map(({ frame, keyPoseIndex, target, gripper, cloud }) => {
      expect(gripper.position[0]).toBe(frame / 100);
      expect(cloud.positions[0]).toBeCloseTo(frame / 100);
      return [frame, keyPoseIndex, Math.round(100 * target.position[0])];
    });
  expect(states({})).toEqual([
    [0, 0, 4],
    [4, 1, 7],
    [7, 2, 9],
  ]);
  expect(states({ everyFrame: true }).map(([frame]) => frame)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  expect(states({ everyFrame: true, stride: 3 })).toEqual([
    [0, 0, 4],
    [3, 0, 4],
    [4, 1, 7],
    [7, 2, 9],
  ]);
  expect(() => states({ everyFrame: true, stride: 0 })).toThrow(/stride/);
});

test("empty clouds and demonstrations without key poses are refused by name", () => {
  const high = demonstrationOf(3, [2]);
  expect(() => prepareKeyPoses([high], { tableHeight: 1.2 })).toThrow(
    /test\/episode0 frame 0\] the point cloud is empty/,
  );
  expect(() => prepareKeyPoses([demonstrationOf(3, [])])).toThrow(/no key pose/);
  expect(() => prepareKeyPoses([])).toThrow(/no demonstrations/);
  const cloud = { positions: Float32Array.of(0, 0, 1, 0, NaN, 1), colors: new Float32Array(6) };
  expect(() => prepareKeyPoses([{ ...high, observe: () => cloud }])).toThrow(/frame 0\] the point cloud has positions/);
  const lost = { position: [0, 0, NaN], quaternion: [0, 0, 0, 1], open: 1 } as Demonstration["states"][number];
  expect(() => prepareKeyPoses([{ ...high, states: [high.states[0], high.states[1], lost] }])).toThrow(
    /frame 2\] the gripper/,
  );
  const still = { ...lost, position: [0, 0, 1], quaternion: [0, 0, 0, 0] } as Demonstration["states"][number];
  expect(() => prepareKeyPoses([{ ...high, states: [still, high.states[1], high.states[2]] }])).toThrow(
    /^\[test\/episode0 frame 0\] quaternion \[0, 0, 0, 0\] is no rotation/,
  );
});

test("batches have the promised shapes and content", () => {
  const batch = drawBatch(dataset, { seed: 1, step: 0, batchSize: 4, points: 256 });
  expect(batch).toMatchObject({ size: 4, pointsPerScene: 256, instructionDim: 16, instructionTokens: 4 });
  const lengths = Object.entries(batch).flatMap(([name, value]) =>
    typeof value === "number" ? [] : [[name, value.length]],
  );
  expect(Object.fromEntries(lengths)).toEqual({
    points: 4 * 256 * 3,
    colors: 4 * 256 * 3,
    instruction: 4 * 4 * 16,
    instructionLengths: 4,
    proprio: 32,
    stepIds: 4,
    targetPosition: 12,
    targetQuaternion: 16,
    targetOpen: 4,
    targetRotationBins: 12,
    sampleIndices: 4,
    turns: 4,
  });
  batch.sampleIndices.forEach((index, b) => {
    const { target, gripper, cloud, embeddings, keyPoseIndex } = dataset.samples[index];
    expect(batch.stepIds[b]).toBe(keyPoseIndex);
    expect([...batch.targetPosition.subarray(3 * b, 3 * b + 3)]).toEqual([...Float32Array.from(target.position)]);
    expect([...batch.proprio.subarray(8 * b, 8 * b + 8)]).toEqual([
      ...Float32Array.from([...gripper.position, ...gripper.quaternion, gripper.open]),
    ]);
    expect([...batch.targetRotationBins.subarray(3 * b, 3 * b + 3)]).toEqual(
      quaternionToRotationBins(target.quaternion),
    );
    expect(batch.instruction.subarray(b * 64, (b + 1) * 64)).toEqual(embeddings[0].data);
    const known = new Set(
      Array.from({ length: pointCount(cloud) }, (_, i) => cloud.positions.subarray(3 * i, 3 * i + 3).join()),
    );
    const drawn = new Set<string>();
    for (let i = b * 256; i < (b + 1) * 256; i++) {
      const point = batch.points.subarray(3 * i, 3 * i + 3);
      const nearest = [...known].find((text) =>
        text.split(",").every((value, axis) => Math.abs(Number(value) - point[axis]) < 1e-6),
      );
      expect(nearest).toBeDefined();
      drawn.add(nearest!);
    }
    expect(drawn.size).toBe(Math.min(256, known.size));
  });
});

test("an epoch visits every state once, in an order of its own", () => {
  const visited = (step: number, batchSize: number): number[] => [
    ...drawBatch(dataset, { seed: 3, step, batchSize, points: 8 }).sampleIndices,
  ];
  const epochs = visited(0, 3 * EPISODES);
  for (let epoch = 0; epoch < 3; epoch++)
    expect(new Set(epochs.slice(epoch * EPISODES, (epoch + 1) * EPISODES)).size).toBe(EPISODES);
  expect(epochs.slice(0, EPISODES)).not.toEqual(epochs.slice(EPISODES, 2 * EPISODES));
  expect([0, 1, 2].flatMap((step) => visited(step, 4))).toEqual(epochs.slice(0, 12));
});

test("a batch is a function of its options alone", () => {
  const draw = (seed: number, step: number): KeyPoseBatch =>
    drawBatch(dataset, { seed, step, batchSize: 3, points: 64, rotationRange: 45, jitter: 0.05 });
  const later = draw(5, 9);
  draw(6, 1);
  draw(5, 0);
  expect(draw(5, 9)).toEqual(later);
  expect(draw(5, 10).points).not.toEqual(later.points);
  expect(draw(6, 9).points).not.toEqual(later.points);
  // Drawn one by one, states have the same points and augmentation as in a batch.
  const single = drawBatch(dataset, { seed: 5, step: 27, batchSize: 1, points: 64, rotationRange: 45, jitter: 0.05 });
  expect(single.points).toEqual(later.points.slice(0, 3 * 64));
  expect(single.turns[0]).toBe(later.turns[0]);
});

test("turning and shifting move cloud and poses together", () => {
  const plain = collate(dataset, [0, 1, 2], { seed: 1, points: 128 });
  const center = [0.1, -0.2, 3] as const;
  const turned = collate(dataset, [0, 1, 2], { seed: 1, points: 128, turn: 30, center });
  const [cos, sin] = [Math.cos(Math.PI / 6), Math.sin(Math.PI / 6)];
  const check = (before: Float32Array, after: Float32Array, at: number): void => {
    const [x, y] = [before[at] - center[0], before[at + 1] - center[1]];
    expect(after[at]).toBeCloseTo(center[0] + cos * x - sin * y, 6);
    expect(after[at + 1]).toBeCloseTo(center[1] + sin * x + cos * y, 6);
    expect(after[at + 2]).toBe(before[at + 2]);
  };
  for (let at = 0; at < plain.points.length; at += 3) check(plain.points, turned.points, at);
  for (let at = 0; at < plain.targetPosition.length; at += 3) check(plain.targetPosition, turned.targetPosition, at);
  for (let b = 0; b < 3; b++) {
    check(plain.proprio, turned.proprio, 8 * b);
    const before = plain.targetQuaternion.subarray(4 * b, 4 * b + 4);
    const after = turned.targetQuaternion.subarray(4 * b, 4 * b + 4);
    expect(rotationErrorDegrees(turnQuaternionAboutZ(before, 30), after)).toBeLessThan(1e-3);
    expect([...turned.targetRotationBins.subarray(3 * b, 3 * b + 3)]).toEqual(quaternionToRotationBins(after));
  }
  expect(turned.colors).toEqual(plain.colors);
  const shifted = drawBatch(dataset, { seed: 1, step: 0, batchSize: 5, points: 32, jitter: 0.1 });
  const unshifted = drawBatch(dataset, { seed: 1, step: 0, batchSize: 5, points: 32 });
  for (let b = 0; b < 5; b++) {
    for (let axis = 0; axis < 3; axis++) {
      const shift = shifted.targetPosition[3 * b + axis] - unshifted.targetPosition[3 * b + axis];
      expect(Math.abs(shift)).toBeLessThanOrEqual(0.1);
      expect(Math.abs(shift)).toBeGreaterThan(0);
      expect(shifted.points[96 * b + axis] - unshifted.points[96 * b + axis]).toBeCloseTo(shift, 6);
      expect(shifted.proprio[8 * b + axis] - unshifted.proprio[8 * b + axis]).toBeCloseTo(shift, 6);
    }
  }
});

test("instructions of different lengths are padded and counted; wording is drawn", () => {
  const spoken = prepareKeyPoses([demonstrationOf(3, [2])], { encoder: hashedWordEncoder(4) });
  const batch = drawBatch(spoken, { seed: 1, step: 0, batchSize: 16, points: 2 });
  expect(new Set(batch.instructionLengths)).toEqual(new Set([1, 2]));
  batch.instructionLengths.forEach((length, b) => {
    const padding = batch.instruction.subarray((b * 2 + length) * 4, (b + 1) * 2 * 4);
    expect(padding.every((value) => value === 0)).toBe(true);
    expect([...batch.instruction.subarray(b * 8, b * 8 + length * 4)].every((value) => value !== 0)).toBe(true);
  });
  expect([...collate(spoken, [0, 0], { seed: 1, points: 2 }).instructionLengths]).toEqual([1, 1]);
});

test("position bounds hold everything that augmentation draws", () => {
  const options = { rotationRange: 60, jitter: 0.03 };
  const { min, max } = positionBounds(dataset, { ...options, margin: 0 });
  let reached = 0;
  for (let step = 0; step < 200; step++) {
    const { targetPosition } = drawBatch(dataset, { seed: 1, step, batchSize: EPISODES, points: 1, ...options });
    targetPosition.forEach((value, i) => {
      expect(value).toBeGreaterThanOrEqual(min[i % 3] - 1e-6);
      expect(value).toBeLessThanOrEqual(max[i % 3] + 1e-6);
      if (value > max[i % 3] - 0.03 || value < min[i % 3] + 0.03) reached++;
    });
  }
  expect(reached).toBeGreaterThan(0);
  const still = positionBounds(prepareKeyPoses([demonstrationOf(3, [2])]));
  expect(still.max[0] - still.min[0]).toBeCloseTo(0.04);
  const whole = positionBounds(prepareKeyPoses([demonstrationOf(3, [2])]), { rotationRange: 360, margin: 0 });
  expect(whole.min[0]).toBeCloseTo(RLBENCH_WORKSPACE_CENTER[0] - 0.18);
  expect(whole.max[1]).toBeCloseTo(0.18);
});

test("impossible batches are refused", () => {
  const options = { seed: 1, step: 0, batchSize: 1, points: 1 };
  for (const bad of [
    { step: -1 },
    { step: 0.5 },
    { batchSize: 0 },
    { points: 0 },
    { points: NaN },
    { jitter: NaN },
    { rotationRange: -1 },
  ])
    expect(() => drawBatch(dataset, { ...options, ...bad })).toThrow(/\[batch\]/);
  expect(() => drawBatch(dataset, { ...options, seed: -1 })).toThrow(/\[seed\]/);
  expect(() => collate(dataset, [0], { seed: 1, points: 1, turn: NaN })).toThrow(/turn is NaN/);
  expect(() => collate(dataset, [EPISODES], { seed: 1, points: 1 })).toThrow(/there is no state 7 of 7/);
  expect(() => collate(dataset, [], { seed: 1, points: 1 })).toThrow(/\[batch\]/);
});

test("a batch that memory cannot hold is refused before anything is allocated", () => {
  for (const [batchSize, points] of [
    [2 ** 40, 1],
    [1, 2 ** 40],
    [2 ** 14, 2 ** 14],
  ]) {
    expect(() => drawBatch(dataset, { seed: 0, step: 0, batchSize, points })).toThrow(
      /scenes of \d+ points are too many/,
    );
  }
  expect(() => collate(dataset, [0], { seed: 0, points: 2 ** 40 })).toThrow(/too many/);
});
