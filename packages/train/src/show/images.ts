import { type DepthImage, encodePng, type Observation, type PositionImage, type RgbImage } from "@md/rlbench-data";

/** Pixels of an image's longer side in the page; larger images are shown at every second, third, … pixel. */
export const MAX_SIDE = 320;

/** What a camera saw, as a data URL. */
export interface ShownImage {
  camera: string;
  width: number;
  height: number;
  url: string;
}

/** Images of an observation; none where it is a fused cloud. */
export function shownImages(observation: Observation): ShownImage[] {
  if (observation.kind === "cloud") return [];
  return observation.cameras.map((view) => {
    const { width, height } = view;
    const png = encodePng(shrink(colorsOf(view), Math.ceil(Math.max(width, height) / MAX_SIDE)));
    return { camera: view.name, width, height, url: `data:image/png;base64,${Buffer.from(png).toString("base64")}` };
  });
}

function colorsOf({ width, height, rgb }: DepthImage | PositionImage): RgbImage {
  if (rgb instanceof Uint8Array) return { width, height, data: rgb };
  const pixels = width * height;
  const data = Uint8Array.from({ length: 3 * pixels }, (_, i) =>
    Math.round(127.5 * (rgb[(i % 3) * pixels + Math.floor(i / 3)]! + 1)),
  );
  return { width, height, data };
}

function shrink({ width, height, data }: RgbImage, stride: number): RgbImage {
  const [columns, rows] = [Math.ceil(width / stride), Math.ceil(height / stride)];
  const small = new Uint8Array(3 * columns * rows);
  for (let row = 0, to = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, to += 3) {
      const from = 3 * stride * (row * width + column);
      small.set(data.subarray(from, from + 3), to);
    }
  return { width: columns, height: rows, data: small };
}
