import { ShapeError, type Tensor, ValueError } from "@md/tensor";
import { ConfigKeyError } from "./config.js";
import type { Observation, PolicyBatch } from "./policy.js";
import { ROTATION_BINS } from "./rotation.js";

/**
 * Checks scenes before a policy computes anything from them.
 *
 * @param owner name of the policy, for messages
 * @param expected.instructionDim D that the policy was made for
 * @throws ShapeError when sizes do not fit each other or the policy, ValueError when a number is not finite, an
 *   instruction longer than its tokens or a gripper's quaternion zero; both name the field
 */
export function checkObservation(
  owner: string,
  observation: Observation,
  expected: { readonly instructionDim: number },
): void {
  const { size, pointsPerScene, instructionTokens, instructionDim, instructionLengths } = observation;
  for (const [field, count, least] of [
    ["size", size, 1],
    ["pointsPerScene", pointsPerScene, 1],
    ["instructionTokens", instructionTokens, 0],
  ] as const) {
    if (!Number.isSafeInteger(count) || count < least)
      throw new ShapeError(`[${owner}] ${field} is ${count}, expected an integer of at least ${least}`);
  }
  if (instructionDim !== expected.instructionDim)
    throw new ShapeError(`[${owner}] instructionDim is ${instructionDim}, expected ${expected.instructionDim}`);
  checkPresent(owner, observation, ["points", "colors", "instruction", "proprio", "instructionLengths"]);
  checkNumbers(owner, "points", observation.points, [size, pointsPerScene, 3]);
  checkNumbers(owner, "colors", observation.colors, [size, pointsPerScene, 3]);
  checkNumbers(owner, "instruction", observation.instruction, [size, instructionTokens, instructionDim]);
  checkNumbers(owner, "proprio", observation.proprio, [size, 8]);
  checkQuaternions(owner, observation.proprio, size);
  checkLength(owner, "instructionLengths", instructionLengths, [size]);
  const wrong = instructionLengths.find((n) => !(Number.isInteger(n) && n >= 0 && n <= instructionTokens));
  if (wrong !== undefined)
    throw new ValueError(
      `[${owner}] instructionLengths has ${wrong}, expected integers from 0 to ${instructionTokens}`,
    );
}

/**
 * Checks what a batch has beyond {@link checkObservation}: targets of `horizon` actions a scene.
 *
 * @throws ConfigKeyError for `horizon` when the targets are whole but of another number of actions; else ShapeError and
 *   ValueError, naming the field
 */
export function checkTargets(owner: string, batch: PolicyBatch, horizon: number): void {
  checkPresent(owner, batch, ["targetPosition", "targetRotationBins", "targetOpen"]);
  const { size, targetPosition, targetRotationBins, targetQuaternion, targetOpen } = batch;
  const actions = targetOpen.length / size;
  const agree = [targetPosition, targetRotationBins].every(({ length }) => length === 3 * targetOpen.length);
  if (agree && Number.isInteger(actions) && actions > 0 && actions !== horizon)
    throw new ConfigKeyError(owner, "horizon", `is ${horizon}, expected ${actions}, the target actions a scene`);
  checkNumbers(owner, "targetPosition", targetPosition, [size, horizon, 3]);
  checkLength(owner, "targetRotationBins", targetRotationBins, [size, horizon, 3]);
  const at = targetRotationBins.findIndex((bin) => !(bin >= 0 && bin < ROTATION_BINS));
  if (at >= 0) {
    const found = `${targetRotationBins[at]} at item ${at}`;
    throw new ValueError(`[${owner}] targetRotationBins has ${found}, expected 0 to ${ROTATION_BINS - 1}`);
  }
  if (targetQuaternion) checkNumbers(owner, "targetQuaternion", targetQuaternion, [size, horizon, 4]);
  checkNumbers(owner, "targetOpen", targetOpen, [size, horizon]);
  const wrong = targetOpen.find((open) => !(open >= 0 && open <= 1));
  if (wrong !== undefined) throw new ValueError(`[${owner}] targetOpen has ${wrong}, expected 0 to 1`);
}

/** Checks how many actions are to be drawn a scene. ValueError unless an integer of at least 1. */
export function checkCandidates(owner: string, candidates: number): void {
  if (!Number.isSafeInteger(candidates) || candidates < 1)
    throw new ValueError(`[${owner}] candidates is ${candidates}, expected an integer of at least 1`);
}

/** Checks positions [items, S, 3] and their timesteps, one a sample. */
export function checkPositions(owner: string, items: number, positions: Tensor, timesteps: Tensor): void {
  const [size, samples, axes] = positions.shape;
  if (positions.rank !== 3 || size !== items || axes !== 3)
    throw new ShapeError(`[${owner}] positions has shape [${positions.shape}], expected [${items},samples,3]`);
  if (timesteps.size !== items * samples!)
    throw new ShapeError(`[${owner}] timesteps has shape [${timesteps.shape}], expected [${items * samples!}]`);
}

// What a caller without types may have left out.
function checkPresent<T>(owner: string, from: T, fields: readonly (keyof T & string)[]): void {
  for (const field of fields) {
    if (!ArrayBuffer.isView(from[field]))
      throw new ShapeError(`[${owner}] ${field} is ${String(from[field])}, expected a typed array`);
  }
}

function checkNumbers(owner: string, field: string, values: Float32Array, shape: readonly number[]): void {
  checkLength(owner, field, values, shape);
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0) throw new ValueError(`[${owner}] ${field} has ${values[at]} at item ${at}, expected finite numbers`);
}

function checkQuaternions(owner: string, proprio: Float32Array, size: number): void {
  for (let i = 0; i < size; i++) {
    const quaternion = proprio.subarray(8 * i + 3, 8 * i + 7);
    if (!(Math.hypot(...quaternion) > 1e-6)) {
      const found = `[${quaternion.join(", ")}] as the quaternion of scene ${i}`;
      throw new ValueError(`[${owner}] proprio has ${found}, expected a length above 0`);
    }
  }
}

function checkLength(owner: string, field: string, values: ArrayLike<number>, shape: readonly number[]): void {
  const expected = shape.reduce((product, extent) => product * extent, 1);
  if (values.length !== expected)
    throw new ShapeError(`[${owner}] ${field} has ${values.length} numbers, expected ${expected} for [${shape}]`);
}
