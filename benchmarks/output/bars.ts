interface Bar {
  name: string;
  color: string;
  value: number;
  /** Beside the bar. */
  text: string;
}

const [labelWidth, barWidth, barHeight, gap] = [360, 560, 13, 10];
const escape = (text: string): string => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** Groups of lying bars from 0, one colour a contestant; the longest fills the width. */
export function barChart(title: string, groups: readonly { label: string; bars: readonly Bar[] }[]): string {
  const longest = Math.max(...groups.flatMap(({ bars }) => bars.map(({ value }) => value)));
  const contestants = new Map(groups.flatMap(({ bars }) => bars.map(({ name, color }) => [name, color] as const)));
  const marks: string[] = [`<text x="0" y="16" class="title">${escape(title)}</text>`];
  let x = labelWidth;
  for (const [name, color] of contestants) {
    marks.push(
      `<rect x="${x}" y="6" width="10" height="10" fill="${color}"/><text x="${x + 14}" y="16">${escape(name)}</text>`,
    );
    x += 7 * name.length + 34;
  }
  let y = 32;
  for (const { label, bars } of groups) {
    const middle = y + (bars.length * barHeight) / 2;
    marks.push(`<text x="${labelWidth - 8}" y="${middle}" dy="4" text-anchor="end">${escape(shorten(label))}</text>`);
    for (const { color, value, text } of bars) {
      const width = Math.max(1, (value / longest) * barWidth);
      marks.push(
        `<rect x="${labelWidth}" y="${y}" width="${width.toFixed(1)}" height="${barHeight - 1}" fill="${color}"/>`,
        `<text x="${(labelWidth + width + 4).toFixed(1)}" y="${y + barHeight - 2}" font-size="10">${escape(text)}</text>`,
      );
      y += barHeight;
    }
    y += gap;
  }
  const width = Math.max(labelWidth + barWidth + 60, x);
  return `<svg viewBox="0 0 ${width} ${y}" width="${width}" height="${y}" role="img" aria-label="${escape(title)}">${marks.join("\n")}</svg>`;
}

const shorten = (label: string): string => (label.length <= 54 ? label : `${label.slice(0, 53)}…`);
