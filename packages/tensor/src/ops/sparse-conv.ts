import { native, ShapeError } from "@md/native";
import { lowered } from "../autocast.js";
import { execute, executeAll } from "../primitives.js";
import type { Tensor } from "../tensor.js";

export interface SparseConvAttrs {
  mapPairs: object;
  submConv3d: object;
  submConv3dGrad: object;
}

/**
 * Pairs of rows, input and output, for each offset of a kernel, in the order in which they are computed, and room for H of
 * them: the last of `starts` is how many there are.
 */
export interface PairMap {
  /** i32 [H] */
  readonly inputs: Tensor;
  /** i32 [H] */
  readonly outputs: Tensor;
  /** i32: where the pairs of each offset begin, for each block of 128 output rows. */
  readonly starts: Tensor;
}

/** The neighbours of V voxels within a cube of kernelSize³, of `VoxelHash.neighbourMap`. */
export interface NeighbourMap extends PairMap {
  /** V */
  readonly voxels: number;
  readonly kernelSize: NeighbourKernelSize;
}

export type NeighbourKernelSize = 3 | 5;

/**
 * Groups neighbours by kernel offset.
 * @param neighbours [outputs, K] i32, indices of input rows, -1 where there is none
 * @param inputs the number of input rows; ValueError for an index of as many or more
 * @param options.roomy on a device makes room for all pairs there could be, instead of waiting for their number. Default
 *   false
 */
export function mapPairs(neighbours: Tensor, inputs: number, { roomy = false } = {}): PairMap {
  const [from, to, starts] = executeAll("mapPairs", [neighbours], {}, 3, () =>
    native.mapPairs(neighbours.slot, inputs, roomy),
  );
  return { inputs: from!, outputs: to!, starts: starts! };
}

/**
 * Submanifold sparse convolution (Graham, Engelcke & van der Maaten, 2018): a 3D convolution whose sites are the occupied
 * voxels, in and out. out[v] = bias + sum over offsets k of weight[:, k] · x[the voxel at v + k - centre]. Empty
 * neighbours are not multiplied. A row does not depend on how many voxels there are or threads run, to the bit.
 *
 * @param map the voxels' neighbours, built once and shared by every layer of a level
 * @param x [V, in], of any float, rows in the order of the voxels
 * @param weight [out, k, k, k, in] with offsets along x, y, z, k being the map's kernelSize: spconv's layout
 * @param options.bias [out]; default none
 * @returns [V, out]
 * @throws ShapeError where x or weight do not fit the map or each other; DTypeError
 */
export function submConv3d(
  map: NeighbourMap,
  x: Tensor,
  weight: Tensor,
  { bias = null }: { bias?: Tensor | null } = {},
): Tensor {
  if (x.shape[0] !== map.voxels)
    throw new ShapeError(
      `[submConv3d] x has shape [${x.shape}], expected [${map.voxels},in] for the voxels of the map`,
    );
  if (weight.shape[1] !== map.kernelSize) {
    const k = map.kernelSize;
    throw new ShapeError(
      `[submConv3d] weight has shape [${weight.shape}], expected [out,${k},${k},${k},in] for the map's kernelSize`,
    );
  }
  [x, weight, bias] = lowered(x, weight, bias);
  const { inputs, outputs, starts } = map;
  return execute("submConv3d", [inputs, outputs, starts, x, weight, bias], {}, () =>
    native.submConv3d(inputs.slot, outputs.slot, starts.slot, x.slot, weight.slot, bias?.slot ?? -1),
  );
}
