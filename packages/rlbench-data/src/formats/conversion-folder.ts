import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { DataError } from "../errors.js";

/** A conversion of one folder into another. */
export interface Conversion {
  from: string;
  to: string;
  /** That is written. */
  format: string;
  /** Below `to`; written last, it makes the folder a data set. */
  indexFile: string;
}

/** Says, until the conversion ends, what it converts. */
const MARKER_FILE = "conversion.json";

/** @throws DataError unless `to` is new, empty, or of the same conversion, which was interrupted */
export function checkConversion({ from, to, format, indexFile }: Conversion): void {
  const marker = join(to, MARKER_FILE);
  const origin = realpathSync(from);
  if (existsSync(join(to, indexFile))) throw new DataError(to, `holds a data set already (${indexFile})`);
  if (existsSync(marker)) {
    const begun = readMarker(marker);
    if (begun.from !== origin)
      throw new DataError(marker, `is of a conversion of ${String(begun.from)}, not of ${origin}`);
    if (begun.format !== format)
      throw new DataError(marker, `is of a conversion to the format ${String(begun.format)}, not to ${format}`);
    return;
  }
  if (existsSync(to) && readdirSync(to).length > 0)
    throw new DataError(to, "is not empty, and of no interrupted conversion");
  if (`${resolve(to)}/`.startsWith(`${origin}/`)) throw new DataError(to, `lies within ${origin}, which is converted`);
}

/**
 * Begins a conversion that {@link checkConversion} allows, or goes on with it.
 *
 * @param layout what the place of each episode depends on. Files of another one are removed
 */
export function beginConversion({ from, to, format }: Conversion, layout: string): void {
  const marker = join(to, MARKER_FILE);
  if (existsSync(marker)) {
    if (readMarker(marker).layout === layout) return;
    for (const name of readdirSync(to)) if (name !== MARKER_FILE) rmSync(join(to, name), { recursive: true });
  }
  mkdirSync(to, { recursive: true });
  writeFileSync(`${marker}.partial`, `${JSON.stringify({ from: realpathSync(from), format, layout })}\n`);
  renameSync(`${marker}.partial`, marker);
}

/** To be called once the index is written. */
export const endConversion = ({ to }: Conversion): void => rmSync(join(to, MARKER_FILE));

function readMarker(marker: string): Record<string, unknown> {
  try {
    return (JSON.parse(readFileSync(marker, "utf8")) ?? {}) as Record<string, unknown>;
  } catch (error) {
    throw new DataError(marker, `cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
