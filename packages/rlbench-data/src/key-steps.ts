import type { RecordedEpisode } from "./episode-source.js";

/**
 * An episode of its key steps alone: the first frame and those of the key poses. `recordedFrames` says which frames of
 * the recording they are. An episode that has no other frames is given back as it is.
 */
export function keySteps(episode: RecordedEpisode): RecordedEpisode {
  const { states, keyFrames } = episode;
  const frames = [0, ...keyFrames.filter((frame) => frame < states.length)];
  if (frames.length === states.length) return episode;
  return {
    ...episode,
    states: frames.map((frame) => states[frame]),
    keyFrames: keyFrames.map((_, k) => k + 1),
    recordedFrames: frames.map((frame) => episode.recordedFrames?.[frame] ?? frame),
    linkBoxes: episode.linkBoxes && ((step) => episode.linkBoxes!(frames[step])),
    readFrame: (step, cameras) => episode.readFrame(frames[step] ?? states.length, cameras),
  };
}
