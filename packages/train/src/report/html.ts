import { escape } from "./svg.js";

/** A part of a report: a heading, then charts side by side, tables and sentences. */
export interface Section {
  heading: string;
  /** Finished HTML or SVG. */
  parts: readonly string[];
}

export const paragraph = (text: string): string => `<p>${escape(text)}</p>`;

/** Charts that flow side by side. */
export const charts = (svgs: readonly string[]): string => `<div class="charts">${svgs.join("\n")}</div>`;

export function htmlTable({
  titles,
  rows,
}: {
  titles: readonly string[];
  rows: readonly (readonly string[])[];
}): string {
  const line = (cells: readonly string[], tag: string): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join("")}</tr>`;
  return `<table><thead>${line(titles, "th")}</thead><tbody>${rows.map((row) => line(row, "td")).join("\n")}</tbody></table>`;
}

const style = `
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1180px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.6em } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ddd }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } th, td { padding: 0.25em 0.8em; text-align: right; border-bottom: 1px solid #eee }
th:first-child, td:first-child { text-align: left } th { font-weight: 600 }
.charts { display: flex; flex-wrap: wrap; gap: 1em } svg { font: 12px system-ui, sans-serif; max-width: 100%; height: auto }
svg .grid { stroke: #e6e6e6 } svg .axis { stroke: #444; fill: none } svg .title { font-weight: 600 }`;

/** One self-contained page: it requests nothing. */
export function htmlPage(title: string, sections: readonly Section[]): string {
  const body = sections.map(
    ({ heading, parts }) => `<section><h2>${escape(heading)}</h2>\n${parts.join("\n")}</section>`,
  );
  return [
    "<!doctype html>",
    `<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">`,
    `<title>${escape(title)}</title><style>${style}</style></head>`,
    `<body><h1>${escape(title)}</h1>`,
    ...body,
    "</body></html>",
    "",
  ].join("\n");
}
