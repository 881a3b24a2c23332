import { DTypeError, native, ShapeError, ValueError } from "@md/native";
import type { DType } from "../dtype.js";
import { lowered } from "../autocast.js";
import { execute, executeAll } from "../primitives.js";
import type { Tensor } from "../tensor.js";
import { segmentMean } from "./segment.js";
import { mapPairs, type NeighbourKernelSize, type NeighbourMap, type PairMap } from "./sparse-conv.js";

export interface VoxelAttrs {
  voxelHash: object;
  voxelLookup: object;
  voxelNeighbours: object;
  neighboursOfVoxels: object;
  localKernelMap: object;
  localKernelQuery: object;
  localKernelQueryGrad: object;
}

export interface VoxelOptions {
  /** Edge of a voxel, in the unit of the points. */
  voxelSize: number;
  /** A corner of voxel (0, 0, 0). Default the origin. */
  origin?: readonly [number, number, number];
}

/**
 * The occupied voxels of a batch of point clouds (Mini-Diffuser, Eqs. 15-17), V of P points, in the order of
 * (batch, x, y, z). Points and queries are binned alike: floor((p - origin) / voxelSize), in the dtype of the points.
 * Keys are exact: distant voxels never share one, and nothing wraps at the borders. Positions get no gradient: they
 * choose voxels, which is piecewise constant.
 */
export class VoxelHash {
  private constructor(
    /** i64 [V], ascending: batch, x, y, z packed into one integer. */
    readonly keys: Tensor,
    /** i32 [V, 4]: batch, x, y, z of each voxel. */
    readonly coordinates: Tensor,
    /** i32 [P]: the voxel of each point. */
    readonly voxelOfPoint: Tensor,
    /** i32 [P]: points grouped by voxel, in their own order within one. */
    readonly pointOrder: Tensor,
    /** i32 [V + 1]: voxel v holds the points pointOrder[voxelOffsets[v]] up to pointOrder[voxelOffsets[v + 1] - 1]. */
    readonly voxelOffsets: Tensor,
    /** i64 [slots, 2]: the open-addressing table behind the look-ups. */
    readonly table: Tensor,
    private readonly dtype: DType,
    private readonly grid: readonly [voxelSize: number, x: number, y: number, z: number],
  ) {}

  /**
   * @param points [P, 3], any float; f16 and bf16 are binned in f32
   * @param pointBatch [P], i32 or i64: the item that each point belongs to, 0 to 4095
   * @throws ValueError naming the row of a point that is not finite or lies beyond voxel ±65536
   */
  static build(points: Tensor, pointBatch: Tensor, { voxelSize, origin = [0, 0, 0] }: VoxelOptions): VoxelHash {
    for (const [field, value] of Object.entries({
      voxelSize,
      originX: origin[0],
      originY: origin[1],
      originZ: origin[2],
    })) {
      if (typeof value !== "number")
        throw new ValueError(`[voxelHash] ${field} is ${String(value)}, expected a finite number`);
    }
    const [keys, coordinates, voxelOfPoint, pointOrder, voxelOffsets, table] = executeAll(
      "voxelHash",
      [points, pointBatch],
      {},
      6,
      () => native.voxelHash(points.slot, pointBatch.slot, voxelSize, ...origin),
    );
    return new VoxelHash(keys!, coordinates!, voxelOfPoint!, pointOrder!, voxelOffsets!, table!, points.dtype, [
      voxelSize,
      ...origin,
    ]);
  }

  /** V, the number of occupied voxels. */
  get size(): number {
    return this.keys.size;
  }

  /**
   * i32 [Q]: the voxel that each query lies in, -1 where it is empty.
   * @param queries [Q, 3], finite, in the dtype of the points
   * @param queryBatch [Q], i32 or i64
   */
  lookup(queries: Tensor, queryBatch: Tensor): Tensor {
    this.requireDType("voxelLookup", queries);
    return execute("voxelLookup", [queries, queryBatch, this.table], {}, () =>
      native.voxelLookup(queries.slot, queryBatch.slot, this.table.slot, ...this.grid),
    );
  }

  /** i32 [Q, 27]: the voxels around each query (Eq. 16), dx slowest and dz fastest, each -1, 0, 1; -1 where empty. */
  neighbours(queries: Tensor, queryBatch: Tensor): Tensor {
    this.requireDType("voxelNeighbours", queries);
    return execute("voxelNeighbours", [queries, queryBatch, this.table], {}, () =>
      native.voxelNeighbours(queries.slot, queryBatch.slot, this.table.slot, ...this.grid),
    );
  }

  /** i32 [V, kernelSize³]: the voxels around each voxel, dx slowest and dz fastest; -1 where empty. Default 3. */
  neighboursOfVoxels(kernelSize: NeighbourKernelSize = 3): Tensor {
    return execute("neighboursOfVoxels", [this.keys, this.table], {}, () =>
      native.neighboursOfVoxels(this.keys.slot, this.table.slot, kernelSize),
    );
  }

  /** The map that {@link submConv3d} works on. Built once, used by every layer of this level. Default 3. */
  neighbourMap(kernelSize: NeighbourKernelSize = 3): NeighbourMap {
    const neighbours = this.neighboursOfVoxels(kernelSize);
    const pairs = mapPairs(neighbours, this.size);
    neighbours.dispose();
    return { ...pairs, voxels: this.size, kernelSize };
  }

  /**
   * Eq. 17: features [P, C] to the means [V, C] of each voxel's points. Differentiable. On a CPU a view of the features where
   * each point is alone in its voxel and the points are in the order of the voxels.
   */
  mean(features: Tensor): Tensor {
    return segmentMean(features, this.voxelOffsets, { order: this.pointOrder });
  }

  /**
   * The map that {@link localKernelQuery} works on, for queries [Q, 3] of items [Q]: with room for all pairs there could be,
   * so that nothing waits for their number. Built once, used by every layer.
   */
  localKernelMap(queries: Tensor, queryBatch: Tensor): LocalKernelMap {
    this.requireDType("localKernelMap", queries);
    const [inputs, outputs, starts] = executeAll("localKernelMap", [queries, queryBatch, this.table], {}, 3, () =>
      native.localKernelMap(queries.slot, queryBatch.slot, this.table.slot, this.size, ...this.grid),
    );
    return { inputs: inputs!, outputs: outputs!, starts: starts!, queries: queries.shape[0]!, voxels: this.size };
  }

  /** Takes all tensors out of their scope: they live until {@link dispose}. */
  keep(): this {
    for (const tensor of this.tensors()) tensor.keep();
    return this;
  }

  dispose(): void {
    for (const tensor of this.tensors()) tensor.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  private tensors(): readonly Tensor[] {
    return [this.keys, this.coordinates, this.voxelOfPoint, this.pointOrder, this.voxelOffsets, this.table];
  }

  private requireDType(op: string, queries: Tensor): void {
    if (queries.dtype !== this.dtype) {
      throw new DTypeError(
        `[${op}] queries has dtype ${queries.dtype}, expected ${this.dtype} as the points, so that both are binned alike`,
      );
    }
  }
}

/** The occupied neighbours of Q queries (outputs) among V voxels (inputs), of `VoxelHash.localKernelMap`. */
export interface LocalKernelMap extends PairMap {
  readonly queries: number;
  readonly voxels: number;
}

/**
 * Groups neighbours by kernel offset. On a device nothing waits for how many there are.
 * @param neighbours [Q, K] i32, indices of voxels, -1 where empty
 * @param voxels V; ValueError for a negative one, and for an index of V or more
 */
export function localKernelMap(neighbours: Tensor, voxels: number): LocalKernelMap {
  if (!(Number.isSafeInteger(voxels) && voxels >= 0))
    throw new ValueError(`[localKernelMap] found ${voxels} voxels, expected an integer of at least 0`);
  return { ...mapPairs(neighbours, voxels, { roomy: true }), queries: neighbours.shape[0]!, voxels };
}

/**
 * Eq. 18: out[q] = sum over offsets k of weight[k] · means[voxel at offset k of q]. Empty neighbours are not
 * multiplied; a query without any gives 0. A row does not depend on the other queries, to the bit. Gradients flow to
 * `means` and `weight`, none to the positions of the queries.
 *
 * @param means [V, in], of any float, of {@link VoxelHash.mean}
 * @param weight [K, out, in]: K = 27 offsets, dx slowest and dz fastest
 * @returns [Q, out]
 */
export function localKernelQuery(map: LocalKernelMap, means: Tensor, weight: Tensor): Tensor {
  if (means.shape[0] !== map.voxels) {
    throw new ShapeError(
      `[localKernelQuery] means has shape [${means.shape}], expected [${map.voxels},in] for the voxels of the map`,
    );
  }
  [means, weight] = lowered(means, weight);
  const { inputs, outputs, starts, queries } = map;
  return execute("localKernelQuery", [inputs, outputs, starts, means, weight], {}, () =>
    native.localKernelQuery(inputs.slot, outputs.slot, starts.slot, queries, means.slot, weight.slot),
  );
}
