import {
  amax,
  cat,
  curves,
  gelu,
  leakyRelu,
  matmul,
  mean,
  serialize,
  silu,
  softmax,
  sqrt,
  square,
  sum,
  tensor,
  type Tensor,
  where,
  zeros,
} from "@md/tensor";
import type { Item } from "./small.js";

/** Sizes that the reference needs of a policy's configuration. */
export interface DenseSizes {
  encChannels: readonly number[];
  encNumHeads: readonly number[];
  encDepths: readonly number[];
  decNumHeads: readonly number[];
  decDepths: readonly number[];
  patchSize: number;
  contextDim: number;
  voxelSize: number;
  ropeScale: number;
}

/** One level of one scene: occupied cells in the order of (x, y, z). */
interface Level {
  cells: number[][];
  /** [V, 3], mean position of what a cell holds. */
  places: Tensor;
  /** [V, C] */
  features: Tensor;
  /** Rows of the finer level, or points, in each cell. */
  members: number[][];
  /** Cells of the finest grid along an edge. */
  stride: number;
}

const f64 = { dtype: "f64" } as const;
const GRID_DEPTH = 16;

const same = (a: readonly number[], b: readonly number[]): boolean => a.every((value, axis) => value === b[axis]);
const byPlace = (a: readonly number[], b: readonly number[]): number => a[0]! - b[0]! || a[1]! - b[1]! || a[2]! - b[2]!;
const rowsOf = (x: Tensor, rows: readonly number[]): Tensor =>
  cat(
    rows.map((row) => x.narrow(0, row, 1)),
    0,
  );

/**
 * The paper's policy once more, one scene and one noised sample at a time: cells are searched by loops, every attention
 * is a full softmax under a mask that is written out, nothing is kept from one sample to the next. f64, evaluation mode.
 */
export class DenseReference {
  constructor(
    private readonly parameters: ReadonlyMap<string, Tensor>,
    private readonly sizes: DenseSizes,
  ) {}

  /** The network's output [3] for one sample: position in metres from the centre. */
  predict(item: Item, position: readonly number[], timestep: number): Tensor {
    const { tokens, pooled } = this.language(item);
    const levels = this.backbone(item, tokens);
    const [half, at] = [this.sizes.contextDim / 2, tensor([[...position]], f64)];
    const angles = Array.from({ length: half }, (_, i) => timestep * 10000 ** (-i / half));
    const condition = tensor([[...angles.map(Math.sin), ...angles.map(Math.cos)]], f64).add(pooled);
    // The corner of the item's grid: its least coordinates.
    const origin = [0, 1, 2].map((axis) => Math.min(...item.points.map((point) => point[axis]!)));
    let x = this.mlp("anchor", at);
    levels.forEach((level, i) => {
      const name = `neck.${i}`;
      const edge = this.sizes.voxelSize * level.stride;
      const cell = position.map((value, axis) => Math.floor((value - origin[axis]!) / edge));
      const located = x.add(this.embed(`${name}.local.embedding`, level, [cell], level.features, 3));
      const modulated = this.modulate(`${name}.norm1`, located, condition);
      const attended = located.add(this.neckAttention(`${name}.attn`, modulated, at, level, tokens));
      x = attended.add(this.mlp(`${name}.mlp`, this.modulate(`${name}.norm2`, attended, condition)));
    });
    return this.head("denoise", x).flatten();
  }

  /** Logits of the bins [3, 72] and of "open" [1] at a position in metres from the centre. */
  pose(item: Item, position: readonly number[]): { rotation: Tensor; open: Tensor } {
    const { features } = this.backbone(item, this.language(item).tokens).at(-1)!;
    const out = this.head("action", cat([amax(features, { dim: 0, keepdim: true }), tensor([[...position]], f64)], 1));
    return { rotation: out.narrow(1, 0, 216).reshape([72, 3]).transpose(), open: out.narrow(1, 216, 1).flatten() };
  }

  private language({ words }: Item): { tokens: Tensor; pooled: Tensor } {
    const dim = this.sizes.contextDim;
    if (words.length === 0) return { tokens: zeros([0, dim], f64), pooled: zeros([1, dim], f64) };
    const text = tensor(words, f64);
    const tokens = this.linear("language.linear", text);
    const weights = softmax(this.linear("language.score", text), 0);
    return { tokens, pooled: sum(tokens.mul(weights), { dim: 0, keepdim: true }) };
  }

  /** The coarsest level, then each of the decoder's. */
  private backbone(item: Item, context: Tensor): Level[] {
    const { encChannels, encNumHeads, encDepths, decNumHeads, decDepths } = this.sizes;
    const points = tensor(item.points, f64);
    let level = this.voxelise(item, points);
    const stem = this.convolve(level, level.cells, level.features, this.get("backbone.stem.weight"), 5);
    level = { ...level, features: gelu(this.batchNorm("backbone.stem_norm", stem)) };
    const encoded: Level[] = [];
    encChannels.forEach((_, s) => {
      if (s > 0) level = this.pool(`backbone.pools.${s - 1}`, level);
      level = this.stage(`backbone.encoder.${s}`, level, encDepths[s]!, encNumHeads[s]!, context);
      encoded.push(level);
    });
    const out = [encoded.pop()!];
    for (let s = encoded.length - 1; s >= 0; s--) {
      const [below, skip] = [out.at(-1)!, encoded[s]!];
      const name = `backbone.unpools.${s}`;
      const half = (part: string, x: Tensor): Tensor =>
        gelu(this.batchNorm(`${name}.${part}norm`, this.linear(`${name}.${part}proj`, x)));
      const parents = skip.cells.map((_, row) => below.members.findIndex((members) => members.includes(row)));
      const joined = half("skip_", skip.features).add(rowsOf(half("", below.features), parents));
      const decoder = `backbone.decoder.${s}`;
      out.push(this.stage(decoder, { ...skip, features: joined }, decDepths[s]!, decNumHeads[s]!, context));
    }
    return out;
  }

  private voxelise({ points, features }: Item, places: Tensor): Level {
    const least = [0, 1, 2].map((axis) => Math.min(...points.map((point) => point[axis]!)));
    const cellOf = points.map((p) => p.map((value, axis) => Math.floor((value - least[axis]!) / this.sizes.voxelSize)));
    const { cells, members } = occupied(cellOf);
    const average = (x: Tensor): Tensor => cat(members.map((rows) => mean(rowsOf(x, rows), { dim: 0, keepdim: true })));
    return { cells, members, places: average(places), features: average(tensor(features, f64)), stride: 1 };
  }

  private pool(name: string, level: Level): Level {
    const { cells, members } = occupied(level.cells.map((cell) => cell.map((value) => Math.floor(value / 2))));
    const projected = this.linear(`${name}.proj`, level.features);
    const greatest = cat(members.map((rows) => amax(rowsOf(projected, rows), { dim: 0, keepdim: true })));
    const places = cat(members.map((rows) => mean(rowsOf(level.places, rows), { dim: 0, keepdim: true })));
    const features = gelu(this.batchNorm(`${name}.norm`, greatest));
    return { cells, members, places, features, stride: 2 * level.stride };
  }

  private stage(name: string, level: Level, depth: number, heads: number, context: Tensor): Level {
    let x = level.features;
    for (let b = 0; b < depth; b++) {
      const block = `${name}.blocks.${b}`;
      x = x.add(this.embed(`${block}.cpe`, level, level.cells, x, 3));
      x = x.add(this.patchAttention(`${block}.attn`, level, this.layerNorm(`${block}.norm1`, x), heads, b));
      x = x.add(this.mlp(`${block}.mlp`, this.layerNorm(`${block}.norm2`, x)));
      const cross = `${name}.context_blocks.${b}`;
      x = x.add(this.contextAttention(`${cross}.attn`, this.layerNorm(`${cross}.norm1`, x), context, heads));
      x = x.add(this.mlp(`${cross}.mlp`, this.layerNorm(`${cross}.norm2`, x)));
    }
    return { ...level, features: x };
  }

  private embed(name: string, level: Level, at: readonly number[][], x: Tensor, size: number): Tensor {
    const weight = this.get(`${name}.conv.weight`);
    const convolved = this.convolve(level, at, x, weight, size).add(this.get(`${name}.conv.bias`));
    return this.layerNorm(`${name}.norm`, this.linear(`${name}.linear`, convolved));
  }

  // Eqs. 16-18 at any cells: each has one row, so that the mean of Eq. 17 is that row, and an empty one adds 0.
  private convolve({ cells }: Level, at: readonly number[][], x: Tensor, weight: Tensor, size: number): Tensor {
    const [out, width] = [weight.shape[0]!, weight.shape.at(-1)!];
    const [w, h] = [weight.toFlatArray(), x.toFlatArray()];
    const reach = (size - 1) / 2;
    const rows = at.map((cell) => {
      const sums = new Array<number>(out).fill(0);
      for (let offset = 0; offset < size ** 3; offset++) {
        const delta = [Math.floor(offset / size ** 2), Math.floor(offset / size) % size, offset % size];
        const row = cells.findIndex((other) => other.every((v, axis) => v === cell[axis]! + delta[axis]! - reach));
        if (row < 0) continue;
        for (let o = 0; o < out; o++)
          for (let c = 0; c < width; c++) sums[o]! += w[(o * size ** 3 + offset) * width + c]! * h[row * width + c]!;
      }
      return sums;
    });
    return tensor(rows, f64);
  }

  // Full patches along the curve; the last has the rows before it as keys where it is short.
  private patchAttention(name: string, level: Level, x: Tensor, heads: number, block: number): Tensor {
    const rows = level.cells.length;
    const grid = tensor(Int32Array.from(level.cells.flat()), { shape: [rows, 3] });
    const depth = GRID_DEPTH - Math.log2(level.stride);
    const curve = curves[block % curves.length]!;
    const place = serialize(grid, tensor(new Int32Array(rows)), { curve, depth }).inverse.toFlatArray();
    const size = Math.min(this.sizes.patchSize, rows);
    const sees = (query: number, key: number): boolean => {
      const end = Math.min(rows, (Math.floor(place[query]! / size) + 1) * size);
      return place[key]! < end && place[key]! >= end - size;
    };
    const [q, k, v] = this.linear(`${name}.qkv`, x).split([x.shape[1]!, x.shape[1]!, x.shape[1]!]);
    return this.attend(name, [q!, k!, v!], heads, sees);
  }

  private contextAttention(name: string, x: Tensor, context: Tensor, heads: number): Tensor {
    if (context.size === 0) return this.get(`${name}.proj.bias`);
    const width = x.shape[1]!;
    const [k, v] = this.linear(`${name}.kv`, context).split([width, width]);
    return this.attend(name, [this.linear(`${name}.q`, x), k!, v!], heads, () => true);
  }

  /** Over [the sample's own token, points, context tokens]: the row of Eq. 13 of one sample, where all is open. */
  private neckAttention(name: string, x: Tensor, at: Tensor, level: Level, context: Tensor): Tensor {
    const width = x.shape[1]!;
    const own = this.linear(`${name}.own_kv`, x);
    const points = this.linear(`${name}.kv`, level.features);
    const [k, v] = cat([own, points, this.linear(`${name}.context_kv`, context)], 0).split([width, width]);
    // Context tokens have no place: they are rotated by nothing, as at the origin.
    const nowhere = zeros([context.shape[0]!, 3], f64);
    const places = { q: at, k: cat([at, level.places, nowhere], 0) };
    return this.attend(name, [this.linear(`${name}.q`, x), k!, v!], this.sizes.decNumHeads[0]!, () => true, places);
  }

  // Queries and keys are normed a head, then rotated where there are places.
  private attend(
    name: string,
    [q, k, v]: readonly [Tensor, Tensor, Tensor],
    heads: number,
    sees: (query: number, key: number) => boolean,
    places?: { q: Tensor; k: Tensor },
  ): Tensor {
    const dim = q.shape[1]! / heads;
    const mask = tensor(
      Array.from({ length: q.shape[0]! }, (_, i) => Array.from({ length: k.shape[0]! }, (_, j) => sees(i, j))),
      { dtype: "bool" },
    );
    const merged = Array.from({ length: heads }, (_, head) => {
      const part = (x: Tensor): Tensor => x.narrow(1, head * dim, dim).contiguous();
      let query = this.layerNorm(`${name}.q_norm`, part(q), 1e-6);
      let key = this.layerNorm(`${name}.k_norm`, part(k), 1e-6);
      if (places) [query, key] = [this.rotate(query, places.q), this.rotate(key, places.k)];
      const scores = matmul(query, key.transpose()).div(Math.sqrt(dim));
      return matmul(softmax(where(mask, scores, tensor(-1e30, f64)), 1), part(v));
    });
    return this.linear(`${name}.proj`, cat(merged, 1));
  }

  // A third of the channels turns with each of x, y and z, adjacent ones by one angle.
  private rotate(x: Tensor, places: Tensor): Tensor {
    const [rows, dim] = x.shape as [number, number];
    const pairs = Math.floor(dim / 6);
    const [values, at] = [x.toFlatArray(), places.toFlatArray()];
    for (let row = 0; row < rows; row++)
      for (let axis = 0; axis < 3; axis++)
        for (let j = 0; j < pairs; j++) {
          const angle = this.sizes.ropeScale * at[3 * row + axis]! * 10000 ** (-j / pairs);
          const first = row * dim + 2 * (axis * pairs + j);
          const [a, b] = [values[first]!, values[first + 1]!];
          values[first] = a * Math.cos(angle) - b * Math.sin(angle);
          values[first + 1] = a * Math.sin(angle) + b * Math.cos(angle);
        }
    return tensor(values, { ...f64, shape: [rows, dim] });
  }

  private modulate(name: string, x: Tensor, condition: Tensor): Tensor {
    const [shift, scale] = this.linear(`${name}.modulation`, silu(condition)).split([x.shape[1]!, x.shape[1]!]);
    return this.layerNorm(`${name}.norm`, x).mul(scale!.add(1)).add(shift!);
  }

  private mlp(name: string, x: Tensor): Tensor {
    return this.linear(`${name}.layers.1`, gelu(this.linear(`${name}.layers.0`, x)));
  }

  private head(name: string, x: Tensor): Tensor {
    return this.linear(`head.${name}.out`, leakyRelu(this.linear(`head.${name}.hidden`, x), 0.02));
  }

  private linear(name: string, x: Tensor): Tensor {
    return matmul(x, this.get(`${name}.weight`).transpose()).add(this.get(`${name}.bias`));
  }

  private layerNorm(name: string, x: Tensor, eps = 1e-5): Tensor {
    const centred = x.sub(mean(x, { dim: -1, keepdim: true }));
    const deviation = sqrt(mean(square(centred), { dim: -1, keepdim: true }).add(eps));
    return centred
      .div(deviation)
      .mul(this.get(`${name}.weight`))
      .add(this.get(`${name}.bias`));
  }

  private batchNorm(name: string, x: Tensor): Tensor {
    const deviation = sqrt(this.get(`${name}.running_var`).add(1e-3));
    const normed = x.sub(this.get(`${name}.running_mean`)).div(deviation);
    return normed.mul(this.get(`${name}.weight`)).add(this.get(`${name}.bias`));
  }

  private get(name: string): Tensor {
    const value = this.parameters.get(`network.${name}`);
    if (!value) throw new Error(`no parameter is named network.${name}`);
    return value;
  }
}

/** The different ones of some cells in the order of (x, y, z), and which rows lie in each. */
function occupied(cellOf: readonly number[][]): { cells: number[][]; members: number[][] } {
  const cells = cellOf
    .filter((cell, row) => cellOf.findIndex((other) => same(other, cell)) === row)
    .sort(byPlace)
    .map((cell) => [...cell]);
  const rows = [...cellOf.keys()];
  return { cells, members: cells.map((cell) => rows.filter((row) => same(cellOf[row]!, cell))) };
}
