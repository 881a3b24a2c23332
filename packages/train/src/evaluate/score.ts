import { rotationBinDistance, rotationBinErrors, rotationErrorDegrees, type Vector3 } from "@md/rlbench-data";
import { median, type Prediction } from "./predict.js";

/** What a prediction is held against. */
export interface Truth {
  position: ArrayLike<number>;
  /** xyzw. */
  quaternion: ArrayLike<number>;
  rotationBins: ArrayLike<number>;
  open: number;
}

/** How far one prediction is off. */
export interface Score {
  /** Prediction minus truth an axis, metres. */
  offset: Vector3;
  /** Metres. */
  positionError: number;
  /** Degrees between the predicted and the true rotation. */
  rotationError: number;
  /** Degrees between the true bins' centre and the true rotation: what no policy that classifies bins can undercut by much. */
  rotationFloor: number;
  /** Every axis has the right bin or one beside it. */
  besideBin: boolean;
  gripperCorrect: boolean;
}

export function score(prediction: Prediction, truth: Truth): Score {
  const difference = (axis: number): number => prediction.position[axis]! - truth.position[axis]!;
  const offset: Vector3 = [difference(0), difference(1), difference(2)];
  return {
    offset,
    positionError: Math.hypot(...offset),
    rotationError: rotationErrorDegrees(prediction.quaternion, truth.quaternion),
    rotationFloor: rotationBinErrors(truth.quaternion)[0]!,
    besideBin: rotationBinDistance(prediction.rotationBins, truth.rotationBins).every((distance) => distance <= 1),
    gripperCorrect: prediction.open === truth.open,
  };
}

/** Scores of a group of key poses in one line. Shares are from 0 to 1. */
export interface Summary {
  count: number;
  /** Metres. */
  positionMean: number;
  positionMedian: number;
  within1cm: number;
  within2cm: number;
  /** Degrees. */
  rotationMean: number;
  rotationMedian: number;
  within3deg: number;
  within5deg: number;
  /** Shares of these targets that the centre of their own 5° bins puts within 3° and 5°. */
  ceiling3deg: number;
  ceiling5deg: number;
  /** Right rotation bin or one beside it, on every axis. */
  besideBin: number;
  gripperAccuracy: number;
}

export function summarize(scores: readonly Score[]): Summary {
  const mean = (value: (score: Score) => number): number =>
    scores.reduce((sum, score) => sum + value(score), 0) / scores.length;
  const share = (holds: (score: Score) => boolean): number => mean((score) => (holds(score) ? 1 : 0));
  return {
    count: scores.length,
    positionMean: mean((s) => s.positionError),
    positionMedian: median(scores.map((s) => s.positionError)),
    within1cm: share((s) => s.positionError < 0.01),
    within2cm: share((s) => s.positionError < 0.02),
    rotationMean: mean((s) => s.rotationError),
    rotationMedian: median(scores.map((s) => s.rotationError)),
    within3deg: share((s) => s.rotationError < 3),
    within5deg: share((s) => s.rotationError < 5),
    ceiling3deg: share((s) => s.rotationFloor < 3),
    ceiling5deg: share((s) => s.rotationFloor < 5),
    besideBin: share((s) => s.besideBin),
    gripperAccuracy: share((s) => s.gripperCorrect),
  };
}
