import {
  cast,
  type Curve,
  DTypeError,
  type LocalKernelMap,
  type NeighbourKernelSize,
  type NeighbourMap,
  scope,
  serialize,
  ShapeError,
  tensor,
  type Tensor,
  ValueError,
  VoxelHash,
  withOwnerOf,
} from "@md/tensor";
import { type Patches, type PatchRule, patchesOf } from "./patches.js";

/** Bits an axis of grid coordinates. */
export const GRID_DEPTH = 16;
const GRID_CELLS = 2 ** GRID_DEPTH;
/** That a voxel hash tells apart. */
const MOST_ITEMS = 4096;

export interface PointCloudOptions {
  /** Cell of each point, [P, 3], each 0 to 65535; the items' grids are independent of each other. */
  grid: Int32Array;
  /** Positions, [P, 3], f32 or f64. */
  coordinates: Tensor;
  /** Points of each item, side by side in rows; at least 1 each. */
  counts: readonly number[];
}

/** A curve's order of the rows of a cloud, item after item. */
export interface CurveOrder {
  /** i32 [V]: the row that is at each place of the curve. */
  order: Tensor;
  /** i32 [V]: the place of each row. */
  inverse: Tensor;
}

/**
 * The geometry of one level of a batch of point clouds: V occupied grid cells in the order of (item, x, y, z), rows of
 * all items side by side without padding. Points of one cell are one row, the mean of theirs. What layers need of the
 * geometry (orders, patches, neighbours, pooling) is made when first asked for and shared by all layers of the level.
 * Features are tensors [V, C] beside it. All its tensors belong to the scope in which it was made; what a scope has freed
 * nevertheless is made anew.
 */
export class PointCloud {
  private readonly orders = new Map<Curve, CurveOrder>();
  private readonly neighbours = new Map<NeighbourKernelSize, NeighbourMap>();
  private readonly patchings = new Map<string, Patches>();
  private readonly pools = new Map<number, PointCloud>();

  private constructor(
    /** Bins the rows of the finer level, or points, into those of this one; its unit is this level's cell. */
    readonly hash: VoxelHash,
    /** Bits an axis of this level's grid. */
    readonly depth: number,
    /** [V, 3]: mean position of what each cell holds. */
    readonly coordinates: Tensor,
    /** i32 [V, 3] */
    readonly grid: Tensor,
    /** i32 [V]: the item of each row. */
    readonly batch: Tensor,
    /** [B + 1]: item i has the rows offsets[i] up to offsets[i + 1] - 1. */
    readonly offsets: Int32Array,
  ) {}

  /** @throws DTypeError, ShapeError where lengths do not fit, ValueError for no items or more than 4096, for one without points, and naming a point outside */
  static build({ grid, coordinates, counts }: PointCloudOptions): PointCloud {
    if (counts.length === 0 || counts.length > MOST_ITEMS)
      throw new ValueError(`[PointCloud] counts has ${counts.length} items, expected 1 to ${MOST_ITEMS}`);
    const wrong = counts.findIndex((count) => !(Number.isSafeInteger(count) && count >= 1));
    if (wrong >= 0)
      throw new ValueError(`[PointCloud] item ${wrong} has ${counts[wrong]} points, expected an integer of at least 1`);
    const points = counts.reduce((total, count) => total + count, 0);
    if (coordinates.rank !== 2 || coordinates.shape[0] !== points || coordinates.shape[1] !== 3)
      throw new ShapeError(`[PointCloud] coordinates has shape [${coordinates.shape}], expected [${points},3]`);
    if (coordinates.dtype !== "f32" && coordinates.dtype !== "f64")
      throw new DTypeError(`[PointCloud] coordinates has dtype ${coordinates.dtype}, expected f32 or f64`);
    if (grid.length !== 3 * points)
      throw new ShapeError(`[PointCloud] grid has ${grid.length} numbers, expected ${3 * points}`);
    const outside = grid.findIndex((cell) => !(cell >= 0 && cell < GRID_CELLS));
    if (outside >= 0) {
      const [row, axis] = [Math.floor(outside / 3), "xyz"[outside % 3]];
      throw new ValueError(
        `[PointCloud] grid: point ${row} has ${axis} = ${grid[outside]}, expected 0 to ${GRID_CELLS - 1}`,
      );
    }
    const batch = new Int32Array(points);
    let begin = 0;
    counts.forEach((count, item) => batch.fill(item, begin, (begin += count)));
    const { dtype, device } = coordinates;
    const cells = tensor(grid, { shape: [points, 3], dtype, device });
    return PointCloud.binned(cells, tensor(batch, { device }), coordinates, counts.length, GRID_DEPTH);
  }

  private static binned(cells: Tensor, batch: Tensor, coordinates: Tensor, items: number, depth: number): PointCloud {
    const hash = VoxelHash.build(cells, batch, { voxelSize: 1 });
    const itemOfRow = hash.coordinates.narrow(1, 0, 1).flatten().contiguous();
    const offsets = new Int32Array(items + 1);
    for (const item of itemOfRow.data() as Int32Array) offsets[item + 1]!++;
    for (let item = 0; item < items; item++) offsets[item + 1]! += offsets[item]!;
    const grid = hash.coordinates.narrow(1, 1, 3).contiguous();
    return new PointCloud(hash, depth, hash.mean(coordinates), grid, itemOfRow, offsets);
  }

  /** V. */
  get size(): number {
    return this.hash.size;
  }
  /** B. */
  get items(): number {
    return this.offsets.length - 1;
  }
  /** Rows of each item. */
  get counts(): number[] {
    return Array.from({ length: this.items }, (_, item) => this.offsets[item + 1]! - this.offsets[item]!);
  }

  /** Features of what this level was made of (points, or the finer level's rows) to the means [V, C] of each cell. */
  mean(features: Tensor): Tensor {
    return this.hash.mean(features);
  }

  /** The level whose cells are `stride`³ of this one's, a power of two. */
  pool(stride: number): PointCloud {
    const bits = Math.log2(stride);
    if (!Number.isInteger(bits) || bits < 1 || bits > this.depth)
      throw new ValueError(`[PointCloud] stride is ${stride}, expected a power of two from 2 to ${2 ** this.depth}`);
    return shared(
      this.coordinates,
      this.pools,
      stride,
      (level) => level.tensors(),
      () => {
        // A power of two: exact.
        using cells = scope(() => cast(this.grid, this.coordinates.dtype).mul(1 / stride));
        return PointCloud.binned(cells, this.batch, this.coordinates, this.items, this.depth - bits);
      },
    );
  }

  /** The rows of each item in the order in which the curve visits their cells. */
  order(curve: Curve): CurveOrder {
    return shared(
      this.coordinates,
      this.orders,
      curve,
      ({ order, inverse }) => [order, inverse],
      () => {
        const { code, order, inverse } = serialize(this.grid, this.batch, { curve, depth: Math.max(1, this.depth) });
        code.dispose();
        return { order, inverse };
      },
    );
  }

  /** The map of {@link SubMConv3d}. */
  neighbourMap(kernelSize: NeighbourKernelSize): NeighbourMap {
    return shared(
      this.coordinates,
      this.neighbours,
      kernelSize,
      ({ inputs, outputs, starts }) => [inputs, outputs, starts],
      () => this.hash.neighbourMap(kernelSize),
    );
  }

  /** Patches of at most `size` rows along any curve. */
  patches(size: number, rule: PatchRule): Patches {
    return shared(
      this.coordinates,
      this.patchings,
      `${rule} ${size}`,
      ({ keys }) => (keys ? [keys] : []),
      () => patchesOf(this.offsets, size, rule, this.coordinates.device),
    );
  }

  /**
   * The map of {@link LocalKernelQuery} for queries in cells of this level.
   * @param queries [Q, 3], in the dtype of the coordinates: the cell of a query is its floor
   * @param item [Q], i32
   */
  localKernelMap(queries: Tensor, item: Tensor): LocalKernelMap {
    return this.hash.localKernelMap(queries, item);
  }

  /**
   * i32 [Q]: the row of the cell that each query lies in, -1 where it is empty or outside the grid; arguments of
   * {@link localKernelMap}.
   */
  lookup(queries: Tensor, item: Tensor): Tensor {
    return this.hash.lookup(queries, item);
  }

  private tensors(): readonly Tensor[] {
    const { keys, coordinates, voxelOfPoint, pointOrder, voxelOffsets, table } = this.hash;
    const ofHash = [keys, coordinates, voxelOfPoint, pointOrder, voxelOffsets, table];
    return [this.coordinates, this.grid, this.batch, ...ofHash];
  }
}

/** The value of `key`, made where there is none yet or a scope has freed a tensor that it holds; lives as long as `owner`. */
function shared<K, V>(
  owner: Tensor,
  values: Map<K, V>,
  key: K,
  held: (value: V) => readonly Tensor[],
  make: () => V,
): V {
  let value = values.get(key);
  if (value === undefined || held(value).some(({ disposed }) => disposed))
    values.set(key, (value = withOwnerOf(owner, make)));
  return value;
}
