import { existsSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { DataError } from "../errors.js";
import { readJson } from "../taskvar.js";

/** A conversion of one folder into another. */
export interface Conversion {
  from: string;
  to: string;
  /** That is written. */
  format: string;
  /** Below `to`; written last, it makes the folder a data set. */
  indexFile: string;
  /** Below `to`, where the place of an episode depends on others: folder of the episodes. */
  episodeFolder?: string;
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
 * @param layout what the place of each episode depends on; default: nothing. Episodes of another layout are removed
 */
export function beginConversion({ from, to, format, episodeFolder }: Conversion, layout?: string): void {
  const marker = join(to, MARKER_FILE);
  if (existsSync(marker)) {
    if (readMarker(marker).layout === layout) return;
    if (episodeFolder) rmSync(join(to, episodeFolder), { recursive: true, force: true });
  }
  mkdirSync(to, { recursive: true });
  writeFileSync(`${marker}.partial`, `${JSON.stringify({ from: realpathSync(from), format, layout })}\n`);
  renameSync(`${marker}.partial`, marker);
}

/** To be called once the index is written. */
export const endConversion = ({ to }: Conversion): void => rmSync(join(to, MARKER_FILE));

const readMarker = (marker: string): Record<string, unknown> => (readJson(marker) ?? {}) as Record<string, unknown>;
