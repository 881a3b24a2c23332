import type { Feature } from "./features.js";

/** Least, greatest, mean and standard deviation of a feature, as `meta/stats.json` holds them. */
export class FeatureStats {
  private readonly size: number;
  private readonly min: Float64Array;
  private readonly max: Float64Array;
  private readonly sum: Float64Array;
  private readonly squares: Float64Array;
  private rows = 0;
  private values = 0;

  /** Of images the channels are told apart, of all else the elements. */
  constructor(private readonly feature: Feature) {
    this.size =
      feature.dtype === "image" ? feature.shape[2] : feature.shape.reduce((product, side) => product * side, 1);
    this.min = new Float64Array(this.size).fill(Infinity);
    this.max = new Float64Array(this.size).fill(-Infinity);
    this.sum = new Float64Array(this.size);
    this.squares = new Float64Array(this.size);
  }

  /** Adds a row's elements, or an image's pixels, channels last. */
  add(numbers: ArrayLike<number>): void {
    const { size, min, max, sum, squares } = this;
    for (let i = 0, c = 0; i < numbers.length; i++, c = c + 1 === size ? 0 : c + 1) {
      const value = numbers[i];
      if (value < min[c]) min[c] = value;
      if (value > max[c]) max[c] = value;
      sum[c] += value;
      squares[c] += value * value;
    }
    this.rows++;
    this.values += numbers.length / size;
  }

  /** Adds what another one of the same feature has seen. */
  merge({ min, max, sum, squares, rows, values }: FeatureStats): void {
    for (let c = 0; c < this.size; c++) {
      this.min[c] = Math.min(this.min[c], min[c]);
      this.max[c] = Math.max(this.max[c], max[c]);
      this.sum[c] += sum[c];
      this.squares[c] += squares[c];
    }
    this.rows += rows;
    this.values += values;
  }

  /** In LeRobot's form: colours in [0, 1], an image's numbers [channels, 1, 1], the standard deviation that of all rows. */
  toJSON(): Record<string, unknown> {
    const { dtype, shape } = this.feature;
    const scale = dtype === "image" && shape[2] === 3 ? 1 / 255 : 1;
    const shaped = (numbers: Float64Array): unknown[] => {
      const scaled = Array.from(numbers, (value) => value * scale);
      if (dtype === "image") return scaled.map((value) => [[value]]);
      return shape.length === 1 ? scaled : reshape(scaled, shape);
    };
    const mean = this.sum.map((sum) => sum / this.values);
    const std = this.squares.map((squares, c) => Math.sqrt(Math.max(0, squares / this.values - mean[c] ** 2)));
    return { min: shaped(this.min), max: shaped(this.max), mean: shaped(mean), std: shaped(std), count: [this.rows] };
  }
}

function reshape(values: readonly number[], shape: readonly number[]): unknown[] {
  const [first, ...rest] = shape;
  if (rest.length === 0) return [...values];
  const size = values.length / first;
  return Array.from({ length: first }, (_, i) => reshape(values.slice(i * size, (i + 1) * size), rest));
}
