export const geometricMean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

export type Points = readonly (readonly [x: number, y: number])[];

/** Least squares: y ≈ intercept + slope · x. */
export function fitLine(points: Points): { intercept: number; slope: number } {
  const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [mx, my] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const sxx = points.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
  const slope = points.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0) / sxx;
  return { intercept: my - slope * mx, slope };
}

/** The power of x that y grows with: the slope of log y over log x. */
export const growth = (points: Points): number =>
  fitLine(points.map(([x, y]) => [Math.log(x), Math.log(y)] as const)).slope;

/** How far y is from a straight line in x: the largest relative distance from the best one. */
export function misfit(points: Points): number {
  const { intercept, slope } = fitLine(points);
  return Math.max(...points.map(([x, y]) => Math.abs(y / (intercept + slope * x) - 1)));
}
