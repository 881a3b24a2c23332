import * as md from "../../src/index.js";
import type { OpCase } from "../../src/index.js";

interface Geometry {
  x: readonly [batch: number, channels: number, height: number, width: number];
  kernel: readonly [number, number];
  stride: readonly [number, number];
  padding: readonly [number, number];
  dilation?: readonly [number, number];
}

// f(plane, output position, pixels of its window: flat index in the plane, or -1 in the padding), in output order.
function overWindows(
  { x, kernel, stride, padding, dilation = [1, 1] }: Geometry,
  f: (plane: number, window: number[]) => number,
): number[] {
  const [batch, channels, height, width] = x;
  const extent = (axis: 0 | 1): number =>
    Math.floor((x[axis + 2]! + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis]) + 1;
  const out: number[] = [];
  for (let plane = 0; plane < batch * channels; plane++) {
    for (let oy = 0; oy < extent(0); oy++) {
      for (let ox = 0; ox < extent(1); ox++) {
        const window: number[] = [];
        for (let ky = 0; ky < kernel[0]; ky++) {
          for (let kx = 0; kx < kernel[1]; kx++) {
            const y = oy * stride[0] - padding[0] + ky * dilation[0];
            const column = ox * stride[1] - padding[1] + kx * dilation[1];
            window.push(y >= 0 && y < height && column >= 0 && column < width ? y * width + column : -1);
          }
        }
        out.push(f(plane, window));
      }
    }
  }
  return out;
}

function convolve(
  geometry: Geometry,
  out: number,
  groups: number,
  x: number[],
  weight: number[],
  bias?: number[],
): number[] {
  const [batch, channels, height, width] = geometry.x;
  const inGroup = channels / groups;
  // As many "planes" as output channels; each reads the channels of its group.
  return overWindows({ ...geometry, x: [batch, out, height, width] }, (plane, window) => {
    const channel = plane % out;
    const first = Math.floor(plane / out) * channels + Math.floor(channel / (out / groups)) * inGroup;
    let total = bias ? bias[channel]! : 0;
    for (let c = 0; c < inGroup; c++) {
      window.forEach((pixel, k) => {
        if (pixel >= 0)
          total += x[(first + c) * height * width + pixel]! * weight[(channel * inGroup + c) * window.length + k]!;
      });
    }
    return total;
  });
}

function convCase(name: string, geometry: Geometry, out: number, groups: number, withBias: boolean): OpCase {
  const { stride, padding, dilation, kernel, x } = geometry;
  return {
    primitives: ["conv2d", "conv2dInputGrad", "conv2dWeightGrad"],
    name: `conv2d ${name}`,
    inputs: [{ shape: x }, { shape: [out, x[1] / groups, ...kernel] }, ...(withBias ? [{ shape: [out] }] : [])],
    run: (image, weight, bias) => md.conv2d(image!, weight!, { bias, stride, padding, dilation, groups }),
    reference: (image, weight, bias) => convolve(geometry, out, groups, image!, weight!, bias),
  };
}

const pooling: Geometry[] = [
  { x: [2, 3, 8, 7], kernel: [3, 3], stride: [2, 2], padding: [1, 1] },
  { x: [1, 2, 5, 6], kernel: [2, 3], stride: [2, 3], padding: [0, 0] },
];

function bilinear(
  x: number[],
  [height, width]: readonly [number, number],
  [outHeight, outWidth]: readonly [number, number],
  align: boolean,
): number[] {
  const source = (i: number, from: number, to: number): number =>
    align ? (to > 1 ? (i * (from - 1)) / (to - 1) : 0) : Math.max(0, ((i + 0.5) * from) / to - 0.5);
  const out: number[] = [];
  for (let plane = 0; plane < x.length; plane += height * width) {
    for (let i = 0; i < outHeight; i++) {
      for (let j = 0; j < outWidth; j++) {
        const [y, column] = [source(i, height, outHeight), source(j, width, outWidth)];
        const [top, left] = [Math.floor(y), Math.floor(column)];
        const at = (a: number, b: number): number =>
          x[plane + Math.min(a, height - 1) * width + Math.min(b, width - 1)]!;
        const mix = (a: number): number => at(a, left) + (column - left) * (at(a, left + 1) - at(a, left));
        out.push(mix(top) + (y - top) * (mix(top + 1) - mix(top)));
      }
    }
  }
  return out;
}

export const imageCases: OpCase[] = [
  convCase(
    "strided, padded, dilated",
    { x: [2, 4, 9, 8], kernel: [3, 3], stride: [2, 2], padding: [2, 2], dilation: [2, 2] },
    6,
    1,
    true,
  ),
  convCase("in two groups", { x: [2, 4, 7, 6], kernel: [3, 2], stride: [1, 2], padding: [1, 0] }, 6, 2, true),
  convCase(
    "of one pixel, without bias",
    { x: [2, 5, 4, 6], kernel: [1, 1], stride: [1, 1], padding: [0, 0] },
    3,
    1,
    false,
  ),
  convCase("by channel", { x: [1, 4, 5, 5], kernel: [3, 3], stride: [1, 1], padding: [1, 1] }, 4, 4, false),
  ...pooling.flatMap((geometry): OpCase[] => {
    const pixels = geometry.x[2] * geometry.x[3];
    const values =
      (x: number[]) =>
      (plane: number, window: number[]): number[] =>
        window.filter((pixel) => pixel >= 0).map((pixel) => x[plane * pixels + pixel]!);
    return [
      {
        primitives: ["maxPool2d", "maxPool2dGrad"],
        name: `maxPool2d by ${geometry.kernel}`,
        inputs: [{ shape: geometry.x }],
        run: (x) => md.maxPool2d(x!, geometry.kernel, { stride: geometry.stride, padding: geometry.padding }),
        reference: (x) => overWindows(geometry, (plane, window) => Math.max(...values(x!)(plane, window))),
      },
      {
        primitives: ["avgPool2d", "avgPool2dGrad"],
        name: `avgPool2d by ${geometry.kernel}`,
        inputs: [{ shape: geometry.x }],
        run: (x) => md.avgPool2d(x!, geometry.kernel, { stride: geometry.stride, padding: geometry.padding }),
        reference: (x) =>
          overWindows(
            geometry,
            (plane, window) => values(x!)(plane, window).reduce((total, value) => total + value, 0) / window.length,
          ),
      },
    ];
  }),
  ...[true, false].flatMap((alignCorners) =>
    (
      [
        [5, 7],
        [16, 3],
        [1, 1],
      ] as const
    ).map((size): OpCase => ({
      primitives: ["interpolate", "interpolateGrad"],
      name: `interpolate to ${size}${alignCorners ? ", corners aligned" : ""}`,
      inputs: [{ shape: [2, 3, 8, 4] }],
      run: (x) => md.interpolate(x!, size, { alignCorners }),
      reference: (x) => bilinear(x!, [8, 4], size, alignCorners),
    })),
  ),
];
