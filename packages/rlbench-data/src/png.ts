import { readFileSync } from "node:fs";
import { decode, encode } from "fast-png";
import { DataError } from "./errors.js";

/** An 8-bit RGB image, row-major, 3 bytes a pixel. */
export interface RgbImage {
  width: number;
  height: number;
  data: Uint8Array;
}

const HEADER_BYTES = 33;
const SLACK_BYTES = 65536;

/**
 * Reads an 8-bit RGB PNG of a known size. The size is checked before anything is decompressed, and a
 * file larger than such an image can be is refused.
 *
 * @throws DataError naming the file: missing, truncated, corrupt (checksums are verified), wrong size
 */
export function readPng(file: string, width: number, height: number): RgbImage {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new DataError(file, `cannot be read: ${(error as Error).message}`, { cause: error });
  }
  if (bytes.length < HEADER_BYTES || bytes.toString("latin1", 12, 16) !== "IHDR")
    throw new DataError(file, "is no PNG file");
  const [foundWidth, foundHeight] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
  if (foundWidth !== width || foundHeight !== height)
    throw new DataError(file, `image is ${foundWidth}×${foundHeight}, expected ${width}×${height}`);
  if (bytes[24] !== 8 || bytes[25] !== 2) throw new DataError(file, "image is not 8-bit RGB");
  if (bytes.length > 2 * 3 * width * height + SLACK_BYTES)
    throw new DataError(file, `${bytes.length} bytes are too many for a ${width}×${height} image`);
  try {
    const { data } = decode(bytes, { checkCrc: true });
    return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  } catch (error) {
    throw new DataError(file, `PNG is corrupt or truncated: ${(error as Error).message}`, { cause: error });
  }
}

/** Encodes an 8-bit RGB PNG. */
export function encodePng(image: RgbImage): Uint8Array {
  return encode({ ...image, channels: 3, depth: 8 }, { zlib: { level: 1 } });
}
