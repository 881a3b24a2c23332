/** One image as nested loops see it: [channels, height, width]. */
export interface Image {
  channels: number;
  height: number;
  width: number;
  at(channel: number, y: number, x: number): number;
  values: Float64Array;
}

export function image(
  channels: number,
  height: number,
  width: number,
  value: (channel: number, y: number, x: number) => number,
): Image {
  const values = new Float64Array(channels * height * width);
  let next = 0;
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) values[next++] = value(c, y, x);
  const at = (c: number, y: number, x: number): number =>
    y < 0 || y >= height || x < 0 || x >= width ? 0 : values[(c * height + y) * width + x]!;
  return { channels, height, width, at, values };
}

/** Elements of a tensor by their place, and their extents. */
export interface Weight {
  shape: readonly number[];
  values: ArrayLike<number>;
}
export type Weights = (name: string) => Weight;

/** Cross-correlation with zeros around, and a bias where there is one. */
export function convolve(input: Image, weight: Weight, stride: number, bias?: Weight): Image {
  const [out, channels, kernel] = weight.shape as [number, number, number];
  const reach = (kernel - 1) / 2;
  return image(out, Math.ceil(input.height / stride), Math.ceil(input.width / stride), (o, y, x) => {
    let total = bias ? bias.values[o]! : 0;
    for (let c = 0; c < channels; c++)
      for (let ky = 0; ky < kernel; ky++)
        for (let kx = 0; kx < kernel; kx++)
          total +=
            weight.values[((o * channels + c) * kernel + ky) * kernel + kx]! *
            input.at(c, y * stride + ky - reach, x * stride + kx - reach);
    return total;
  });
}

/** Batch normalisation by the running statistics. */
export function normalize(input: Image, weights: Weights, name: string): Image {
  const [scale, shift, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(
    (part) => weights(`${name}.${part}`).values,
  );
  return map(input, (value, c) => ((value - mean![c]!) / Math.sqrt(variance![c]! + 1e-5)) * scale![c]! + shift![c]!);
}

export const map = (input: Image, f: (value: number, channel: number) => number): Image =>
  image(input.channels, input.height, input.width, (c, y, x) => f(input.at(c, y, x), c));
export const rectify = (input: Image): Image => map(input, (value) => Math.max(value, 0));
export const add = (a: Image, b: Image): Image =>
  image(a.channels, a.height, a.width, (c, y, x) => a.at(c, y, x) + b.at(c, y, x));

/** Means of 2 × 2 pixels. */
export const halve = (input: Image): Image =>
  image(input.channels, input.height / 2, input.width / 2, (c, y, x) => {
    const at = (dy: number, dx: number): number => input.at(c, 2 * y + dy, 2 * x + dx);
    return (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4;
  });

/** A residual block by its published names. */
function bottleneck(input: Image, weights: Weights, name: string, strides: boolean): Image {
  const convolveAndNorm = (x: Image, i: number): Image =>
    normalize(convolve(x, weights(`${name}.conv${i}.weight`), 1), weights, `${name}.bn${i}`);
  const second = rectify(convolveAndNorm(rectify(convolveAndNorm(input, 1)), 2));
  const third = convolveAndNorm(strides ? halve(second) : second, 3);
  if (third.channels === input.channels && !strides) return rectify(add(third, input));
  const around = convolve(strides ? halve(input) : input, weights(`${name}.downsample.0.weight`), 1);
  return rectify(add(third, normalize(around, weights, `${name}.downsample.1`)));
}

/** The maps of CLIP's ResNet, fine to coarse. */
export function resnetMaps(input: Image, weights: Weights, layers: readonly number[]): Image[] {
  let x = input;
  for (const i of [1, 2, 3])
    x = rectify(normalize(convolve(x, weights(`conv${i}.weight`), i === 1 ? 2 : 1), weights, `bn${i}`));
  const maps = [x];
  x = halve(x);
  layers.forEach((blocks, i) => {
    for (let j = 0; j < blocks; j++) x = bottleneck(x, weights, `layer${i + 1}.${j}`, i > 0 && j === 0);
    maps.push(x);
  });
  return maps;
}

/** Attention of the mean to all places of a map and itself. */
export function attentionPool(input: Image, weights: Weights, heads: number): number[] {
  const { channels, height, width } = input;
  const positions = weights("positional_embedding").values;
  const places = Array.from({ length: height * width }, (_, i) =>
    Array.from({ length: channels }, (_, c) => input.at(c, Math.floor(i / width), i % width)),
  );
  const mean = Array.from({ length: channels }, (_, c) => places.reduce((sum, p) => sum + p[c]!, 0) / places.length);
  const tokens = [mean, ...places].map((token, i) => token.map((value, c) => value + positions[i * channels + c]!));
  const project = (x: readonly number[], name: string): number[] => {
    const { shape, values } = weights(`${name}.weight`);
    const bias = weights(`${name}.bias`).values;
    return Array.from({ length: shape[0]! }, (_, o) =>
      x.reduce((sum, value, c) => sum + value * values[o * channels + c]!, bias[o]!),
    );
  };
  const query = project(tokens[0]!, "q_proj");
  const [keys, values] = ["k_proj", "v_proj"].map((name) => tokens.map((token) => project(token, name)));
  const dim = channels / heads;
  const merged = Array.from({ length: channels }, (_, c) => {
    const first = Math.floor(c / dim) * dim;
    const shares = keys!.map((key) => {
      let dot = 0;
      for (let d = first; d < first + dim; d++) dot += query[d]! * key[d]!;
      return Math.exp(dot / Math.sqrt(dim));
    });
    const total = shares.reduce((sum, share) => sum + share, 0);
    return shares.reduce((sum, share, i) => sum + (share / total) * values![i]![c]!, 0);
  });
  return project(merged, "c_proj");
}

/** A feature pyramid whose levels double in size. */
export function featurePyramid(maps: readonly Image[], weights: Weights): Image[] {
  const levels: Image[] = [];
  let inner = null as Image | null;
  for (let i = maps.length - 1; i >= 0; i--) {
    const block = (kind: string, x: Image): Image =>
      convolve(x, weights(`${kind}.${i}.0.weight`), 1, weights(`${kind}.${i}.0.bias`));
    const lateral = block("inner_blocks", maps[i]!);
    const coarse = inner;
    inner = coarse
      ? image(lateral.channels, lateral.height, lateral.width, (c, y, x) => {
          const from = coarse.at(
            c,
            Math.floor((y * coarse.height) / lateral.height),
            Math.floor((x * coarse.width) / lateral.width),
          );
          return lateral.at(c, y, x) + from;
        })
      : lateral;
    levels.unshift(block("layer_blocks", inner));
  }
  return levels;
}
