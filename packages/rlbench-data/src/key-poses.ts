import { DataError } from "./errors.js";
import type { LowDimFrame } from "./rlbench/low-dim.js";

const STOPPED_BELOW = 0.1;
const STOPPED_BUFFER = 4;

/**
 * Frames of an episode's key poses by PerAct's `keypoint_discovery` (heuristic method): the gripper
 * opens or closes, the arm stands still (all joint velocities within 0.1 rad/s, at most once in 4
 * frames), or the episode ends. Of two last frames in a row only the second is kept.
 *
 * @throws DataError when a frame has no joint velocities
 */
export function discoverKeyPoses(frames: readonly LowDimFrame[], source = "episode"): number[] {
  const keyFrames: number[] = [];
  const last = frames.length - 1;
  let buffer = 0;
  for (let i = 0; i <= last; i++) {
    const stopped = buffer <= 0 && isStopped(frames, i, source);
    buffer = stopped ? STOPPED_BUFFER : buffer - 1;
    if (i === 0) continue;
    const gripperChanged = frames[i].gripperOpen !== frames[i - 1].gripperOpen;
    if (gripperChanged || stopped || i === last) keyFrames.push(i);
  }
  if (keyFrames.length > 1 && keyFrames.at(-1)! - 1 === keyFrames.at(-2)) keyFrames.splice(-2, 1);
  return keyFrames;
}

function isStopped(frames: readonly LowDimFrame[], i: number, source: string): boolean {
  const velocities = frames[i].jointVelocities;
  if (velocities === null) throw new DataError(source, `frame ${i} has no joint velocities to find key poses by`);
  if (i >= frames.length - 2) return false;
  // The rule looks two frames back; before the start it wraps to the end, as Python's indices do.
  const open = (at: number): number => frames[(at + frames.length) % frames.length].gripperOpen;
  const gripperSteady = open(i) === open(i + 1) && open(i) === open(i - 1) && open(i - 2) === open(i - 1);
  return gripperSteady && velocities.every((velocity) => Math.abs(velocity) <= STOPPED_BELOW);
}
