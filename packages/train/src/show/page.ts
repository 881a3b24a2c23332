import { type EpisodeFormat, keySteps, type RecordedEpisode } from "@md/rlbench-data";
import { pageScript } from "../page-script.js";
import { htmlPage, htmlTable, paragraph } from "../report/html.js";
import { escape } from "../report/svg.js";
import { MAX_SIDE, shownImages } from "./images.js";
import {
  CLOSED_COLOR,
  episodeScene,
  gripperPath,
  MAX_POINTS,
  OPEN_COLOR,
  PATH_COLOR,
  type PathSource,
  shownCloud,
} from "./scene.js";

/** Key steps of which images and cloud are in a page. */
export const MAX_STEPS = 16;

const style = `
.stage { position: relative; border: 1px solid #ddd; overflow: hidden } .stage canvas { display: block; width: 100%; height: 560px; cursor: grab; touch-action: none }
.stage span { position: absolute; transform: translate(-50%, -190%); font: 600 12px system-ui, sans-serif; text-shadow: 0 0 3px #fff, 0 0 3px #fff; pointer-events: none }
.steps label { margin-right: 1em } .images { display: flex; flex-wrap: wrap; gap: 0.6em; margin-bottom: 1em } figure { margin: 0 } figcaption { font-size: 12px; color: #555 }
figure img { width: 200px; display: block; image-rendering: pixelated } h3 { font-size: 1em; margin: 1em 0 0.4em }
.facts td { text-align: left }`;

const pathSentence: Record<PathSource, string> = {
  "every frame": "The path goes through every recorded frame.",
  "stored trajectories": "The path is that of the stored trajectories.",
  "straight lines": "The episode has no frames between key steps, so the path is made of straight lines.",
};

/** Numbers of three decimals, zero without a sign. */
const rounded = (values: readonly number[]): string =>
  values.map((value) => value.toFixed(3).replace(/^-(0\.0*)$/, "$1")).join(", ");

/**
 * One self-contained page about an episode: instructions and facts, cloud, path and key poses in 3D, camera images of
 * the key steps. What the episode lacks is not shown, and the page says so.
 *
 * @throws DataError naming file and field where a frame cannot be read
 */
export function showPage(recorded: RecordedEpisode, format: EpisodeFormat): string {
  const { ref, instructions, variation } = recorded;
  const steps = keySteps(recorded);
  const observations = steps.states.slice(0, MAX_STEPS).map((_, step) => steps.readFrame(step));
  const clouds = observations.map((observation, step) => shownCloud(observation, `${ref.id} key step ${step}`));
  const [first] = observations;
  const images = observations.map(shownImages);
  const path = gripperPath(recorded);
  const name = (step: number): string => (step === 0 ? "start" : `key pose ${step}`);
  const frameOf = (step: number): string => {
    const frame = steps.recordedFrames?.[step];
    return frame === undefined ? "" : `, frame ${frame}`;
  };
  const count = (values: readonly number[]): string => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return low === high ? `${low}` : `${low} to ${high}`;
  };
  const facts: [string, string][] = [
    ["format", format],
    ["task", ref.task],
    ["variation", variation === null ? "not told" : String(variation)],
    ["episode", `${ref.index} (${ref.id})`],
    ["frames that can be observed", String(recorded.states.length)],
    ["key poses", String(steps.keyPoses.length)],
    ["cameras", images[0]!.map(({ camera, width, height }) => `${camera} ${width}×${height}`).join(", ") || "none"],
    ["points a key step", count(clouds.map(({ stored }) => stored))],
    ["of them in the workspace", count(clouds.map(({ inWorkspace }) => inWorkspace))],
  ];
  const notes = [
    first!.kind === "cloud" && "The episode stores fused clouds, so there are no camera images.",
    first!.kind === "position images" && "The cameras' geometry is not stored; each pixel has its world position.",
    instructions.source === "task name" && "The recording has no instructions; the task's name stands in.",
    steps.keyFrames.at(-1)! >= steps.states.length && "What was seen at the final key pose is not stored.",
    steps.recordedFrames === null && "The numbers of the recorded frames are not stored.",
    steps.states.length > MAX_STEPS && `Of ${steps.states.length} key steps the first ${MAX_STEPS} are seen here.`,
    clouds.some(({ shown, stored }) => shown < stored) &&
      `The view shows points within the workspace, or all where none lies there, at most ${MAX_POINTS} a key step, drawn at random.`,
    images.flat().some(({ width, height }) => Math.max(width, height) > MAX_SIDE) &&
      `Images are shown with at most ${MAX_SIDE} pixels a side.`,
  ].filter((note) => note !== false);
  const poses = [recorded.states[0]!, ...steps.keyPoses];
  const rows = poses.map(({ position, quaternion, open }, step) => [
    name(step),
    String(steps.recordedFrames?.[step] ?? ""),
    rounded(position),
    rounded(quaternion),
    open ? "open" : "closed",
  ]);
  const choices = clouds.map(
    (_, step) =>
      `<label><input type="radio" name="step" value="${step}"${step === 0 ? " checked" : ""}> ${escape(name(step) + frameOf(step))}</label>`,
  );
  const pictures = images.map((ofStep, step) =>
    ofStep.length === 0
      ? ""
      : `<h3>${escape(name(step) + frameOf(step))}</h3><div class="images">${ofStep
          .map(
            ({ camera, url }) => `<figure><img src="${url}" alt=""><figcaption>${escape(camera)}</figcaption></figure>`,
          )
          .join("")}</div>`,
  );
  const key = (color: string, text: string): string => `<span style="color:${color}">●</span> ${text}`;
  const scene = JSON.stringify(episodeScene(recorded, clouds)).replaceAll("<", "\\u003c");
  return htmlPage(`${ref.task}, episode ${ref.index}`, [
    {
      heading: "Instructions",
      parts: [
        `<style>${style}</style>`,
        `<ul>${instructions.texts.map((text) => `<li>${escape(text)}</li>`).join("")}</ul>`,
      ],
    },
    {
      heading: "Key steps in 3D",
      parts: [
        `<p class="steps">${choices.join("")}</p>`,
        `<div class="stage"><canvas id="view"></canvas></div>`,
        `<p>${key(OPEN_COLOR, "gripper open")} ${key(CLOSED_COLOR, "closed")} ${key(PATH_COLOR, "path")}; axes of the gripper: x red, y green, z blue. Drag turns, Shift and drag moves, the wheel zooms.</p>`,
        paragraph(pathSentence[path.source]),
      ],
    },
    ...(first!.kind === "cloud" ? [] : [{ heading: "Camera images", parts: pictures }]),
    {
      heading: "Episode",
      parts: [
        `<div class="facts">${htmlTable({ titles: ["", ""], rows: facts })}</div>`,
        ...notes.map(paragraph),
        htmlTable({ titles: ["", "frame", "position, m", "quaternion xyzw", "gripper"], rows }),
        `<script type="application/json" id="scene">${scene}</script>`,
        `<script>${pageScript("cloud-viewer")}</script>`,
      ],
    },
  ]);
}
