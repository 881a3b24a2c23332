import { DataError } from "../errors.js";
import { pointCount, type PointCloud } from "../point-cloud.js";

/** The k nearest other points of each point. */
export interface Neighbors {
  k: number;
  /** Nearest first, [n, k]. */
  indices: Int32Array;
  /** Metres, [n, k]. */
  distances: Float64Array;
}

const POINTS_PER_CELL = 4;
const MAX_CELLS_PER_AXIS = 128;

/**
 * Exact k nearest neighbours by a grid of cells, searched in shells of cells around each point until no nearer point
 * can follow. Of points at the same distance, those of lower index are taken.
 *
 * @throws DataError when the cloud has not more than k points, or one that is not finite
 */
export function findNeighbors(cloud: PointCloud, k: number): Neighbors {
  const n = pointCount(cloud);
  if (!Number.isInteger(k) || k < 1 || k >= n)
    throw new DataError("neighbors", `${k} neighbours are asked for among ${n} points`);
  const grid = new Grid(cloud.positions);
  const indices = new Int32Array(n * k);
  const distances = new Float64Array(n * k);
  const best = new NearestList(k);
  for (let i = 0; i < n; i++) {
    grid.nearest(i, best);
    for (let j = 0; j < k; j++) {
      indices[i * k + j] = best.indices[j];
      distances[i * k + j] = Math.sqrt(best.squares[j]);
    }
  }
  return { k, indices, distances };
}

/** The k nearest so far, in order of distance, then index. */
class NearestList {
  readonly indices: Int32Array;
  readonly squares: Float64Array;
  size = 0;

  constructor(private readonly k: number) {
    this.indices = new Int32Array(k);
    this.squares = new Float64Array(k);
  }

  /** Square of the distance at and beyond which no point is wanted; infinite until there are k. */
  get limit(): number {
    return this.size < this.k ? Infinity : this.squares[this.k - 1];
  }

  offer(index: number, square: number): void {
    let at = this.size;
    if (at === this.k) {
      const last = this.k - 1;
      if (square > this.squares[last] || (square === this.squares[last] && index > this.indices[last])) return;
      at = last;
    } else this.size++;
    while (
      at > 0 &&
      (this.squares[at - 1] > square || (this.squares[at - 1] === square && this.indices[at - 1] > index))
    ) {
      this.squares[at] = this.squares[at - 1];
      this.indices[at] = this.indices[at - 1];
      at--;
    }
    this.squares[at] = square;
    this.indices[at] = index;
  }
}

/** Points sorted into cubic cells. */
class Grid {
  private readonly min = [Infinity, Infinity, Infinity];
  private readonly cells = [1, 1, 1];
  private readonly edge: number;
  /** Where each cell's points begin in `members`. */
  private readonly starts: Int32Array;
  private readonly members: Int32Array;

  constructor(private readonly positions: Float32Array) {
    const n = positions.length / 3;
    const max = [-Infinity, -Infinity, -Infinity];
    for (let i = 0; i < positions.length; i++) {
      const value = positions[i];
      if (!Number.isFinite(value)) throw new DataError("neighbors", `point ${Math.floor(i / 3)} is not finite`);
      const axis = i % 3;
      if (value < this.min[axis]) this.min[axis] = value;
      if (value > max[axis]) max[axis] = value;
    }
    // Clouds are surfaces: as many cells on a face of the box as hold a few points each.
    const extents = max.map((value, axis) => value - this.min[axis]).sort((a, b) => b - a);
    const wanted = Math.sqrt((extents[0] * extents[1] * POINTS_PER_CELL) / n);
    this.edge = Math.max(wanted, extents[0] / MAX_CELLS_PER_AXIS) || 1;
    for (let axis = 0; axis < 3; axis++) this.cells[axis] = Math.floor((max[axis] - this.min[axis]) / this.edge) + 1;
    const cellOf = new Int32Array(n);
    this.starts = new Int32Array(this.cells[0] * this.cells[1] * this.cells[2] + 1);
    for (let i = 0; i < n; i++) {
      cellOf[i] = (this.cell(i, 0) * this.cells[1] + this.cell(i, 1)) * this.cells[2] + this.cell(i, 2);
      this.starts[cellOf[i] + 1]++;
    }
    for (let cell = 1; cell < this.starts.length; cell++) this.starts[cell] += this.starts[cell - 1];
    this.members = new Int32Array(n);
    const next = this.starts.slice();
    for (let i = 0; i < n; i++) this.members[next[cellOf[i]]++] = i;
  }

  private cell(point: number, axis: number): number {
    return Math.floor((this.positions[3 * point + axis] - this.min[axis]) / this.edge);
  }

  /** Fills `best` with the nearest other points of one point. */
  nearest(point: number, best: NearestList): void {
    best.size = 0;
    const [cx, cy, cz] = [this.cell(point, 0), this.cell(point, 1), this.cell(point, 2)];
    const [nx, ny, nz] = this.cells;
    const shells = Math.max(nx, ny, nz);
    // Whatever lies in shell s is at least s - 1 edges away.
    for (let s = 0; s <= shells && ((s - 1) * this.edge) ** 2 * Math.sign(s) <= best.limit; s++) {
      for (let x = Math.max(0, cx - s); x <= Math.min(nx - 1, cx + s); x++) {
        for (let y = Math.max(0, cy - s); y <= Math.min(ny - 1, cy + s); y++) {
          const whole = Math.abs(x - cx) === s || Math.abs(y - cy) === s;
          for (let z = cz - s; z <= cz + s; z += whole || s === 0 ? 1 : 2 * s)
            if (z >= 0 && z < nz) this.offerCell((x * ny + y) * nz + z, point, best);
        }
      }
    }
  }

  private offerCell(cell: number, point: number, best: NearestList): void {
    const p = this.positions;
    for (let m = this.starts[cell]; m < this.starts[cell + 1]; m++) {
      const other = this.members[m];
      if (other === point) continue;
      const dx = p[3 * other] - p[3 * point];
      const dy = p[3 * other + 1] - p[3 * point + 1];
      const dz = p[3 * other + 2] - p[3 * point + 2];
      best.offer(other, dx * dx + dy * dy + dz * dz);
    }
  }
}
