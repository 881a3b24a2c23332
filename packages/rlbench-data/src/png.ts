import { inflateSync } from "node:zlib";
import { convertIndexedToRgb, decode, encode } from "fast-png";
import { DataError } from "./errors.js";
import { ColorType, filteredBytes, type PngChunks, readChunks, writeChunks } from "./png/chunks.js";
import { unfilterRgb } from "./png/kernels.js";
import { readBoundedFile } from "./read-file.js";

/** An 8-bit RGB image, row-major, 3 bytes a pixel. */
export interface RgbImage {
  width: number;
  height: number;
  data: Uint8Array;
}

/** Of the largest kind: four channels of 16 bits. */
const MAX_BYTES_PER_PIXEL = 8;
const SLACK_BYTES = 65536;
/** Output buffer of the decompressor: most images need but one. */
const MAX_INFLATE_CHUNK = 2 ** 22;

/**
 * Reads a PNG file of a known size as 8-bit RGB: see {@link decodePng}. A file larger than such an image can be is
 * refused.
 *
 * @throws DataError naming the file: missing, too large, or as {@link decodePng}
 */
export function readPng(file: string, width: number, height: number): RgbImage {
  return decodePng(readImage(file, width, height), file, width, height);
}

/**
 * Decodes a PNG of a known size as 8-bit RGB: of RGB, RGB with alpha (which is not read) or a palette, interlaced or
 * not. The size is checked before anything is decompressed, and decompression stops at the bytes that such an image has.
 *
 * @param source name for error messages
 * @throws DataError naming the source: truncated, corrupt (checksums are verified), of another size or kind, rows missing
 */
export function decodePng(bytes: Buffer, source: string, width: number, height: number): RgbImage {
  const data = decodePixels(bytes, source, width, height, (chunks) => {
    const { bitDepth, colorType, interlaced } = chunks;
    if (bitDepth === 8 && colorType === ColorType.rgb && !interlaced)
      return unfilterRgb(inflateRows(chunks), width, height);
    if (colorType === ColorType.palette) {
      const indexed = decodeWithLibrary(chunks);
      return convertIndexedToRgb({ ...indexed, palette: indexed.palette });
    }
    if (bitDepth === 8 && colorType === ColorType.rgb) return decodeWithLibrary(chunks).data;
    if (bitDepth === 8 && colorType === ColorType.rgbAlpha) return dropAlpha(decodeWithLibrary(chunks).data);
    throw new DataError(source, `image is not 8-bit RGB: its colour type is ${colorType} with ${bitDepth} bits`);
  });
  return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

/**
 * Reads a 16-bit grey PNG of a known size as depth, as depth cameras write it.
 *
 * @param unit metres a step. Default 0.001
 * @returns metres, [height, width]; 0 where the camera measured nothing
 * @throws DataError as {@link readPng}
 */
export function readDepthPng(file: string, width: number, height: number, unit = 0.001): Float32Array {
  return decodeDepthPng(readImage(file, width, height), file, width, height, unit);
}

/** {@link readDepthPng} of bytes. */
export function decodeDepthPng(
  bytes: Buffer,
  source: string,
  width: number,
  height: number,
  unit = 0.001,
): Float32Array {
  const steps = decodePixels(bytes, source, width, height, (chunks) => {
    if (chunks.bitDepth === 16 && chunks.colorType === ColorType.grey) return decodeWithLibrary(chunks).data;
    throw new DataError(
      source,
      `image is not 16-bit grey: its colour type is ${chunks.colorType} with ${chunks.bitDepth} bits`,
    );
  });
  return Float32Array.from(steps, (step) => step * unit);
}

const readImage = (file: string, width: number, height: number): Buffer =>
  readBoundedFile(file, MAX_BYTES_PER_PIXEL * width * height + SLACK_BYTES);

function decodePixels<T extends ArrayLike<number>>(
  bytes: Buffer,
  source: string,
  width: number,
  height: number,
  decodeChunks: (chunks: PngChunks) => T,
): T {
  try {
    const chunks = readChunks(bytes);
    if (chunks.width !== width || chunks.height !== height)
      throw new DataError(source, `image is ${chunks.width}×${chunks.height}, expected ${width}×${height}`);
    return decodeChunks(chunks);
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(source, `PNG is corrupt or truncated: ${(error as Error).message}`, { cause: error });
  }
}

/** The rows with their filter bytes. */
function inflateRows(chunks: PngChunks): Uint8Array {
  const expected = filteredBytes(chunks);
  const rows = inflateSync(chunks.compressed, {
    maxOutputLength: expected,
    chunkSize: Math.min(expected + 64, MAX_INFLATE_CHUNK),
  });
  if (rows.length !== expected) throw new Error(`${rows.length} bytes of pixels, expected ${expected}`);
  return rows;
}

// The library bounds nothing itself and unpacks colour profiles too: it gets the chunks that decide
// pixels, once they are known to unpack to the right size.
function decodeWithLibrary(chunks: PngChunks): ReturnType<typeof decode> {
  inflateRows(chunks);
  return decode(writeChunks(chunks));
}

function dropAlpha(rgba: ArrayLike<number>): Uint8Array {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    rgb[to] = rgba[from];
    rgb[to + 1] = rgba[from + 1];
    rgb[to + 2] = rgba[from + 2];
  }
  return rgb;
}

/** Encodes an 8-bit RGB PNG. */
export function encodePng(image: RgbImage): Uint8Array {
  return encode({ ...image, channels: 3, depth: 8 }, { zlib: { level: 1 } });
}

/** Encodes a 16-bit grey PNG, such as depth in millimetres. */
export function encodeDepthPng(image: { width: number; height: number; data: Uint16Array }): Uint8Array {
  return encode({ ...image, channels: 1, depth: 16 }, { zlib: { level: 1 } });
}
