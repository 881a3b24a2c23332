/** Text made safe for HTML and SVG. */
export const escape = (text: string): string => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** Colours of series, told apart also without red and green (Okabe and Ito, 2008). */
export const palette = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"] as const;

/** A plot's frame: pixels, data limits, and what the axes are called. */
export interface Frame {
  width: number;
  height: number;
  x: readonly [low: number, high: number];
  y: readonly [low: number, high: number];
  title: string;
  xLabel: string;
  yLabel: string;
  /** Powers of ten on the y axis; its limits are over 0. Default false. */
  logY?: boolean;
}

const margin = { left: 52, right: 18, top: 28, bottom: 40 };

/** A plot's frame with axes and grid, and the map from data to its pixels. */
export class Plot {
  private readonly marks: string[] = [];

  constructor(private readonly frame: Frame) {}

  px(x: number): number {
    const { width, x: limits } = this.frame;
    return margin.left + share(x, limits) * (width - margin.left - margin.right);
  }
  py(y: number): number {
    const { height, y: limits, logY } = this.frame;
    const at = logY ? share(Math.log(y), [Math.log(limits[0]), Math.log(limits[1])]) : share(y, limits);
    return height - margin.bottom - at * (height - margin.top - margin.bottom);
  }

  /** Adds SVG in pixels; see {@link px} and {@link py}. */
  draw(svg: string): this {
    this.marks.push(svg);
    return this;
  }

  line(points: readonly (readonly [number, number])[], color: string): this {
    const path = points.map(([x, y]) => `${this.px(x).toFixed(1)},${this.py(y).toFixed(1)}`).join(" ");
    return this.draw(`<polyline points="${path}" fill="none" stroke="${color}" stroke-width="1.5"/>`);
  }

  /** Fills between two lines of the same places, pale. */
  band(lower: readonly (readonly [number, number])[], upper: typeof lower, color: string): this {
    const outline = [...lower, ...[...upper].reverse()];
    const path = outline.map(([x, y]) => `${this.px(x).toFixed(1)},${this.py(y).toFixed(1)}`).join(" ");
    return this.draw(`<polygon points="${path}" fill="${color}" fill-opacity="0.15"/>`);
  }

  bar(from: number, to: number, height: number, color: string): this {
    const [left, right, top, bottom] = [this.px(from), this.px(to), this.py(height), this.py(this.frame.y[0])];
    const size = `width="${Math.max(0, right - left - 1).toFixed(1)}" height="${(bottom - top).toFixed(1)}"`;
    return this.draw(`<rect x="${left.toFixed(1)}" y="${top.toFixed(1)}" ${size} fill="${color}"/>`);
  }

  /** Names of the series, beside the title. */
  legend(names: readonly string[]): this {
    let x = this.frame.width - margin.right;
    [...names].reverse().forEach((name, i) => {
      const color = palette[(names.length - 1 - i) % palette.length];
      this.draw(`<text x="${x}" y="16" text-anchor="end" fill="${color}">${escape(name)}</text>`);
      x -= 7 * name.length + 12;
    });
    return this;
  }

  toString(): string {
    const { width, height, x, y, title, xLabel, yLabel, logY } = this.frame;
    const [left, right, top, bottom] = [margin.left, width - margin.right, margin.top, height - margin.bottom];
    const xTicks = ticks(x).map((value) => {
      const at = this.px(value).toFixed(1);
      return `<path d="M${at} ${bottom}V${top}" class="grid"/><text x="${at}" y="${bottom + 15}" text-anchor="middle">${label(value)}</text>`;
    });
    const yTicks = (logY ? powersOfTen(y) : ticks(y)).map((value) => {
      const at = this.py(value).toFixed(1);
      return `<path d="M${left} ${at}H${right}" class="grid"/><text x="${left - 5}" y="${at}" dy="4" text-anchor="end">${label(value)}</text>`;
    });
    const middle = (top + bottom) / 2;
    return [
      `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escape(title)}">`,
      ...xTicks,
      ...yTicks,
      `<path d="M${left} ${top}V${bottom}H${right}" class="axis"/>`,
      `<text x="${left}" y="16" class="title">${escape(title)}</text>`,
      `<text x="${(left + right) / 2}" y="${height - 6}" text-anchor="middle">${escape(xLabel)}</text>`,
      `<text x="12" y="${middle}" text-anchor="middle" transform="rotate(-90 12 ${middle})">${escape(yLabel)}</text>`,
      ...this.marks,
      "</svg>",
    ].join("\n");
  }
}

const share = (value: number, [low, high]: readonly [number, number]): number => (value - low) / (high - low);

/** Round numbers within the limits, four to eight of them. */
export function ticks([low, high]: readonly [number, number]): number[] {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => (first + i) * step);
}

function powersOfTen([low, high]: readonly [number, number]): number[] {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const count = Math.floor(Math.log10(high) + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => 10 ** (first + i));
}

const label = (value: number): string => {
  const round = Number(value.toPrecision(6));
  return round !== 0 && Math.abs(round) < 0.01 ? round.toExponential() : String(round);
};
