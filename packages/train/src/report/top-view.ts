import { type ReachScene, SPHERE_COLORS, SYNTHETIC_TABLE } from "@md/rlbench-data";
import { Plot } from "./svg.js";

/** A scene and where candidates would put the gripper in it. */
export interface TopView {
  title: string;
  scene: ReachScene;
  /** World frame, metres, [candidates, 3]. */
  candidates: Float32Array;
}

/** The table from above: spheres in their colours, those named with a ring, candidates as crosses. */
export function topView({ title, scene, candidates }: TopView): string {
  const { center, size } = SYNTHETIC_TABLE;
  const limits = (axis: 0 | 1): [number, number] => [center[axis] - size[axis] / 2, center[axis] + size[axis] / 2];
  const plot = new Plot({ width: 290, height: 294, x: limits(0), y: limits(1), title, xLabel: "x, m", yLabel: "y, m" });
  const scale = plot.px(1) - plot.px(0);
  for (const { position, radius, color } of scene.spheres) {
    const [x, y, r] = [plot.px(position[0]), plot.py(position[1]), radius * scale].map((value) => value.toFixed(1));
    const rgb = SPHERE_COLORS[color].map((channel) => Math.round(255 * channel)).join(",");
    plot.draw(`<circle cx="${x}" cy="${y}" r="${r}" fill="rgb(${rgb})" stroke="#888"/>`);
    if (color === scene.color)
      plot.draw(`<circle cx="${x}" cy="${y}" r="${Number(r) + 4}" fill="none" stroke="#000" stroke-dasharray="3 2"/>`);
  }
  for (let at = 0; at < candidates.length; at += 3) {
    const [x, y] = [plot.px(candidates[at]!).toFixed(1), plot.py(candidates[at + 1]!).toFixed(1)];
    plot.draw(`<path d="M${x} ${y}m-3 -3l6 6m0 -6l-6 6" stroke="#000" stroke-opacity="0.6"/>`);
  }
  return plot.toString();
}
