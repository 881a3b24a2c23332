import { DataError } from "./errors.js";
import type { Observation, PositionImage } from "./episode-source.js";
import { concatPointClouds, type PointCloud } from "./point-cloud.js";
import { cameraPointCloud } from "./rlbench/camera.js";

/**
 * World-frame cloud of an observation: every pixel of every camera, or the fused cloud; uncropped.
 *
 * @param source name for error messages
 * @throws DataError when there is nothing to see, or a position is not finite
 */
export function observationCloud(observation: Observation, source: string): PointCloud {
  if (observation.kind === "cloud") {
    const { positions, colors } = observation;
    const scaled = new Float32Array(colors.length);
    for (let i = 0; i < colors.length; i++) scaled[i] = colors[i] / 255;
    return { positions, colors: scaled };
  }
  if (observation.cameras.length === 0) throw new DataError(source, "lists no camera to observe with");
  return concatPointClouds(
    observation.kind === "depth images"
      ? observation.cameras.map((view) => cameraPointCloud(view, `${source} ${view.name}`))
      : observation.cameras.map(positionImageCloud),
  );
}

function positionImageCloud({ width, height, rgb, positions }: PositionImage): PointCloud {
  const pixels = width * height;
  const cloud: PointCloud = { positions: new Float32Array(3 * pixels), colors: new Float32Array(3 * pixels) };
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0, from = channel * pixels; i < pixels; i++, from++) {
      cloud.positions[3 * i + channel] = positions[from];
      cloud.colors[3 * i + channel] = (rgb[from] + 1) / 2;
    }
  }
  return cloud;
}
