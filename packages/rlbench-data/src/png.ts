import { inflateSync } from "node:zlib";
import { decode, encode } from "fast-png";
import { DataError } from "./errors.js";
import { readBoundedFile } from "./read-file.js";

/** An 8-bit RGB image, row-major, 3 bytes a pixel. */
export interface RgbImage {
  width: number;
  height: number;
  data: Uint8Array;
}

const SIGNATURE_BYTES = 8;
/** Of a chunk beside its data: length, type, checksum. */
const CHUNK_BYTES = 12;
const HEADER_BYTES = 33;
const SLACK_BYTES = 65536;

/**
 * Reads an 8-bit RGB PNG of a known size. The size is checked before anything is decompressed, and a
 * file larger than such an image can be is refused.
 *
 * @throws DataError naming the file: missing, truncated, corrupt (checksums are verified), wrong size, rows missing
 */
export function readPng(file: string, width: number, height: number): RgbImage {
  const bytes = readBoundedFile(file, 2 * 3 * width * height + SLACK_BYTES);
  if (bytes.length < HEADER_BYTES || bytes.toString("latin1", 12, 16) !== "IHDR")
    throw new DataError(file, "is no PNG file");
  const [foundWidth, foundHeight] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
  if (foundWidth !== width || foundHeight !== height)
    throw new DataError(file, `image is ${foundWidth}×${foundHeight}, expected ${width}×${height}`);
  if (bytes[24] !== 8 || bytes[25] !== 2 || bytes[28] !== 0)
    throw new DataError(file, "image is not 8-bit RGB without interlacing");
  try {
    checkPixels(bytes, width, height);
    const { data } = decode(bytes, { checkCrc: true });
    return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  } catch (error) {
    throw new DataError(file, `PNG is corrupt or truncated: ${(error as Error).message}`, { cause: error });
  }
}

// What the decoder takes as it comes: a second header, of another size, and rows that are missing or too many.
function checkPixels(bytes: Buffer, width: number, height: number): void {
  const parts: Buffer[] = [];
  for (let at = SIGNATURE_BYTES; at + 8 <= bytes.length;) {
    const length = bytes.readUInt32BE(at);
    const type = bytes.toString("latin1", at + 4, at + 8);
    if (type === "IEND") break;
    if (type === "IHDR" && at !== SIGNATURE_BYTES) throw new Error("a second header");
    if (type === "IDAT") parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += CHUNK_BYTES + length;
  }
  const expected = height * (1 + 3 * width);
  const { length } = inflateSync(Buffer.concat(parts), { maxOutputLength: expected });
  if (length !== expected) throw new Error(`${length} bytes of pixels, expected ${expected}`);
}

/** Encodes an 8-bit RGB PNG. */
export function encodePng(image: RgbImage): Uint8Array {
  return encode({ ...image, channels: 3, depth: 8 }, { zlib: { level: 1 } });
}
