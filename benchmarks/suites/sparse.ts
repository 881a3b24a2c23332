import {
  backward,
  cast,
  segmentMax,
  segmentMean,
  serialize,
  submConv3d,
  type Tensor,
  tensor,
  VoxelHash,
  zeros,
} from "@md/tensor";
import { alongCurve, type BenchCase, type Bind, random, stateless, type Suite, withGradients } from "../suite.js";
import type { TargetId } from "../targets.js";
import type { HostTensor } from "../peers/protocol.js";
import { surfaceCells } from "../scenes.js";

/** Voxels that are neighbours within 3³, themselves among them. */
function pairsOf(count: number): number {
  const cells = surfaceCells(count);
  const key = (x: number, y: number, z: number): number => (x * 4096 + y) * 64 + z;
  const occupied = new Set<number>();
  for (let i = 0; i < cells.length; i += 3) occupied.add(key(cells[i]!, cells[i + 1]!, cells[i + 2]!));
  let pairs = 0;
  for (let i = 0; i < cells.length; i += 3)
    for (let k = 0; k < 27; k++) {
      const [dx, dy, dz] = [Math.floor(k / 9) - 1, (Math.floor(k / 3) % 3) - 1, (k % 3) - 1];
      if (occupied.has(key(cells[i]! + dx, cells[i + 1]! + dy, cells[i + 2]! + dz))) pairs++;
    }
  return pairs;
}

/** inputs: voxels, features, weight, cotangent. The map is built once, as layers share it. */
const convolution: Bind = ([cells, ...rest]) => {
  const item = zeros([cells.shape[0]], { dtype: "i32", device: cells.device });
  const map = VoxelHash.build(cast(cells, "f32").add(0.5), item, { voxelSize: 1 }).neighbourMap(3);
  return withGradients((x: Tensor, weight: Tensor) => submConv3d(map, x, weight), 2)(rest);
};

const convolutionCase = (voxels: number, channels: number, rest: Partial<BenchCase>): BenchCase => ({
  name: `submConv3d, ${voxels} voxels, ${channels} channels, forward and backward`,
  inputs: () => [
    { shape: [voxels, 3], data: surfaceCells(voxels) },
    random([voxels, channels], 1),
    random([channels, 3, 3, 3, channels], 2),
    random([voxels, channels], 3),
  ],
  bind: convolution,
  peer: { op: "submConv3dGrad" },
  get flops() {
    return 6 * pairsOf(voxels) * channels * channels;
  },
  ...rest,
});

/** Segments of 1 to 7 rows, 4 on average. */
function offsets(rows: number): HostTensor {
  const ends: number[] = [0];
  for (let length = 1; ends.at(-1)! < rows; length = (length % 7) + 1) ends.push(Math.min(rows, ends.at(-1)! + length));
  return { shape: [ends.length], data: Int32Array.from(ends) };
}

const points = 100_000;
const channels = 72;
const segments = offsets(points).shape[0]! - 1;
const pooled = (): HostTensor[] => [random([points, channels]), offsets(points)];

const gridCells = (): HostTensor => ({
  shape: [points, 3],
  data: Int32Array.from(random([points, 3]).data as Float32Array, (value) => Math.floor((value + 1) * 512)),
});
const curveOrder = (curve: "z" | "hilbert"): Bind =>
  stateless((cells) => {
    const { code, order } = serialize(cells, tensor(new Int32Array(points), { device: cells.device }), { curve });
    return [code, order];
  });

/** Sparse convolution, pooling over segments and space-filling curves: what a point-cloud backbone is made of. */
export const sparseSuite: Suite = {
  name: "sparse",
  cases: [
    ...[4000, 16_000].flatMap((voxels) =>
      ([36, 72] as const).map((width) =>
        convolutionCase(voxels, width, {
          patient: true,
          countsFor: [`subm-conv-${width}` satisfies TargetId, "scaling"],
        }),
      ),
    ),
    ...alongCurve(
      [1000, 3000, 10_000, 30_000, 100_000].map((voxels) =>
        convolutionCase(voxels, 36, {
          name: `submConv3d, ${voxels} voxels, 36 channels, growth`,
          peer: undefined,
          threads: "one",
          curve: { name: "sparse convolution", x: voxels },
          countsFor: ["growth-conv", "growth-memory"],
        }),
      ),
    ),
    {
      name: "mean of segments, 100,000 rows of 72",
      inputs: pooled,
      bind: stateless((x, ends) => segmentMean(x, ends)),
      peer: { op: "segmentMean" },
      bytes: 4 * channels * (points + segments),
      countsFor: ["memory-bound"],
    },
    {
      name: "maximum of segments, 100,000 rows of 72, forward and backward",
      inputs: () => [...pooled(), random([segments, channels], 2)],
      bind: stateless((x, ends, gradient) => {
        const leaf = x.detach();
        leaf.requiresGrad = true;
        const { values } = segmentMax(leaf, ends);
        backward(values, { gradient });
        return [values, leaf.grad!];
      }),
      peer: { op: "segmentMaxGrad" },
    },
    {
      name: "z-order of 100,000 cells",
      inputs: () => [gridCells()],
      bind: curveOrder("z"),
      peer: { op: "zOrder" },
    },
    {
      name: "Hilbert order of 100,000 cells",
      inputs: () => [gridCells()],
      bind: curveOrder("hilbert"),
    },
  ],
};
