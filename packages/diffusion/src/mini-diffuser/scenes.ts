import { type DeviceName, tensor } from "@md/tensor";
import type { Observation } from "../policy.js";
import { gripperNumbers } from "../gripper-numbers.js";
import type { SceneTensors } from "./network.js";

/** Observed scenes as tensors, and where their centres are. */
export interface CenteredScenes {
  scenes: SceneTensors;
  /** World frame, metres, [B, 3]. */
  centers: Float32Array;
}

/**
 * Points relative to a centre: the one given, or the mean of their scene's points; colours to [-1, 1]; height is z of the world frame. Instructions side by
 * side without padding.
 *
 * @param device where tensors go that the host does not read
 */
export function centerScenes(
  observation: Observation,
  center: readonly number[] | null,
  device: DeviceName,
): CenteredScenes {
  const { size, pointsPerScene, points, colors, instruction, instructionTokens, instructionDim } = observation;
  const centers = new Float32Array(3 * size);
  const coordinates = new Float32Array(points.length);
  const features = new Float32Array(7 * size * pointsPerScene);
  for (let item = 0; item < size; item++) {
    const first = 3 * item * pointsPerScene;
    const sums = [0, 0, 0];
    for (let i = 0; i < 3 * pointsPerScene; i++) sums[i % 3]! += points[first + i]!;
    for (let axis = 0; axis < 3; axis++) centers[3 * item + axis] = center?.[axis] ?? sums[axis]! / pointsPerScene;
    for (let i = 0; i < 3 * pointsPerScene; i++) {
      const at = first + i;
      const row = 7 * Math.floor(at / 3);
      coordinates[at] = points[at]! - centers[3 * item + (i % 3)]!;
      features[row + (i % 3)] = coordinates[at]!;
      features[row + 3 + (i % 3)] = 2 * colors[at]! - 1;
      if (i % 3 === 2) features[row + 6] = points[at]!;
    }
  }
  const offsets = new Int32Array(size + 1);
  observation.instructionLengths.forEach((length, item) => (offsets[item + 1] = offsets[item]! + length));
  const words = new Float32Array(offsets[size]! * instructionDim);
  observation.instructionLengths.forEach((length, item) => {
    const begin = item * instructionTokens * instructionDim;
    words.set(instruction.subarray(begin, begin + length * instructionDim), offsets[item]! * instructionDim);
  });
  const rows = size * pointsPerScene;
  return {
    scenes: {
      coordinates: tensor(coordinates, { shape: [rows, 3] }),
      features: tensor(features, { shape: [rows, 7], device }),
      counts: new Array<number>(size).fill(pointsPerScene),
      words: { tokens: tensor(words, { shape: [offsets[size]!, instructionDim], device }), offsets },
      gripper: tensor(centeredGripper(observation.proprio, centers), { shape: [size, 10], device }),
      stepIds: observation.stepIds && tensor(observation.stepIds),
    },
    centers,
  };
}

function centeredGripper(proprio: Float32Array, centers: Float32Array): Float32Array {
  const numbers = gripperNumbers(proprio, centers.length / 3);
  centers.forEach((center, i) => (numbers[10 * Math.floor(i / 3) + (i % 3)]! -= center));
  return numbers;
}
