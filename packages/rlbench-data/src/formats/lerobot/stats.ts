import type { Feature } from "./features.js";

/** What the numbers of a feature add up to, an element of each channel of images or of each element of all else. */
export interface FeatureSums {
  min: Float64Array;
  max: Float64Array;
  sum: Float64Array;
  squares: Float64Array;
  rows: number;
  /** Numbers of each channel or element. */
  values: number;
}

/** Least, greatest, mean and standard deviation of a feature, as `meta/stats.json` holds them. */
export class FeatureStats {
  /** Plain data. */
  readonly sums: FeatureSums;
  private readonly size: number;

  constructor(private readonly feature: Feature) {
    const size = featureSize(feature);
    this.size = size;
    this.sums = {
      min: new Float64Array(size).fill(Infinity),
      max: new Float64Array(size).fill(-Infinity),
      sum: new Float64Array(size),
      squares: new Float64Array(size),
      rows: 0,
      values: 0,
    };
  }

  /** Adds a row's elements, or an image's pixels, channels last. */
  add(numbers: ArrayLike<number>): void {
    const { size, sums } = this;
    const { min, max, sum, squares } = sums;
    for (let i = 0, c = 0; i < numbers.length; i++, c = c + 1 === size ? 0 : c + 1) {
      const value = numbers[i];
      if (value < min[c]) min[c] = value;
      if (value > max[c]) max[c] = value;
      sum[c] += value;
      squares[c] += value * value;
    }
    sums.rows++;
    sums.values += numbers.length / size;
  }

  /** Adds what another one of the same feature has seen. */
  merge({ min, max, sum, squares, rows, values }: FeatureSums): void {
    const { sums } = this;
    for (let c = 0; c < this.size; c++) {
      sums.min[c] = Math.min(sums.min[c], min[c]);
      sums.max[c] = Math.max(sums.max[c], max[c]);
      sums.sum[c] += sum[c];
      sums.squares[c] += squares[c];
    }
    sums.rows += rows;
    sums.values += values;
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
    const { min, max, sum, squares, rows, values } = this.sums;
    const mean = sum.map((total) => total / values);
    const std = squares.map((total, c) => Math.sqrt(Math.max(0, total / values - mean[c] ** 2)));
    return { min: shaped(min), max: shaped(max), mean: shaped(mean), std: shaped(std), count: [rows] };
  }
}

function featureSize({ dtype, shape }: Feature): number {
  return dtype === "image" ? shape[2] : shape.reduce((product, side) => product * side, 1);
}

function reshape(values: readonly number[], shape: readonly number[]): unknown[] {
  const [first, ...rest] = shape;
  if (rest.length === 0) return [...values];
  const size = values.length / first;
  return Array.from({ length: first }, (_, i) => reshape(values.slice(i * size, (i + 1) * size), rest));
}
