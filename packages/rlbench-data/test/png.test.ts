import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import { decode, encode } from "fast-png";
import { beforeEach, expect, test } from "vitest";
import { CounterRandom, DataError, decodeDepth } from "../src/index.js";
import { readDepthPng, readPng } from "../src/png.js";
import { unfilterRgb } from "../src/png/kernels.js";
import { pngChunk } from "./support/png-chunk.js";
import { temporaryFolder } from "./support/temporary-folder.js";

let file: string;
beforeEach(() => void (file = join(temporaryFolder(), "image.png")));
const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
const RGB = 2;
const PALETTE = 3;

function header(width: number, height: number, bitDepth: number, colorType: number, interlace = 0): Buffer {
  const data = Buffer.alloc(13);
  data.writeUInt32BE(width, 0);
  data.writeUInt32BE(height, 4);
  data.set([bitDepth, colorType, 0, 0, interlace], 8);
  return pngChunk("IHDR", data);
}

/** Writes a PNG of rows that are filtered already. */
function writePng(head: Buffer, rows: Uint8Array, ...before: Buffer[]): Buffer {
  const end = pngChunk("IEND", Buffer.alloc(0));
  const bytes = Buffer.concat([signature, head, ...before, pngChunk("IDAT", deflateSync(rows)), end]);
  writeFileSync(file, bytes);
  return bytes;
}

function randomBytes(count: number, seed: number): Uint8Array {
  const random = new CounterRandom(seed);
  return Uint8Array.from({ length: count }, () => random.below(256));
}

test.each([1, 2, 3, 4, 5, 33, 128])("rows of every filter, %i pixels wide, are the library's", (width) => {
  const height = 64;
  const rows = randomBytes(height * (1 + 3 * width), width);
  for (let y = 0; y < height; y++) rows[y * (1 + 3 * width)] = (y * 7 + (y >> 3)) % 5;
  for (let first = 0; first < 5; first++) {
    rows[0] = first;
    const bytes = writePng(header(width, height, 8, RGB), rows);
    expect(Buffer.compare(readPng(file, width, height).data, decode(bytes).data as Uint8Array)).toBe(0);
  }
});

// Images go through the kernels' memory in bands: of several rows, of one, and of one that makes it grow.
test.each([
  [5000, 100],
  [150_000, 3],
  [200_000, 3],
])("%i × %i pixels are the library's", (width, height) => {
  const rows = randomBytes(height * (1 + 3 * width), width);
  for (let y = 0; y < height; y++) rows[y * (1 + 3 * width)] = 4 - (y % 5);
  const bytes = writePng(header(width, height, 8, RGB), rows);
  expect(Buffer.compare(readPng(file, width, height).data, decode(bytes).data as Uint8Array)).toBe(0);
  rows[(height - 1) * (1 + 3 * width)] = 5;
  writePng(header(width, height, 8, RGB), rows);
  expect(() => readPng(file, width, height)).toThrow(`row ${height - 1} has the unknown filter 5`);
});

test("Paeth's predictor is right for every left, above and upper left", () => {
  const predict = (left: number, above: number, upperLeft: number): number => {
    const distance = (value: number): number => Math.abs(left + above - upperLeft - value);
    if (distance(left) <= Math.min(distance(above), distance(upperLeft))) return left;
    return distance(above) <= distance(upperLeft) ? above : upperLeft;
  };
  // Two pixels a row. Rows by pairs: upper left and above as they are; then left, as a difference from upper left, which
  // is what the first pixel is predicted as, and the prediction alone.
  const PAIRS = 256 * 256;
  const rows = new Uint8Array(14 * PAIRS);
  let wrong = 0;
  for (let left = 0; left < 256; left++) {
    for (let pair = 0; pair < PAIRS; pair++) {
      const at = 14 * pair;
      rows[at + 7] = 4;
      for (let channel = 1; channel <= 3; channel++) {
        rows[at + channel] = pair >> 8;
        rows[at + 3 + channel] = pair & 255;
        rows[at + 7 + channel] = left - (pair >> 8);
      }
    }
    const pixels = unfilterRgb(rows, 2, 2 * PAIRS);
    for (let pair = 0; pair < PAIRS; pair++) {
      const expected = predict(left, pair & 255, pair >> 8);
      for (let i = 12 * pair + 9; i < 12 * pair + 12; i++) if (pixels[i] !== expected) wrong++;
    }
  }
  expect(wrong).toBe(0);
});

test("24 bits of depth are metres, in bands too", () => {
  const rgb = randomBytes(3 * 300_001, 1);
  const depth = decodeDepth(rgb, { near: 0.01, far: 3.5 });
  const step = (3.5 - 0.01) / (2 ** 24 - 1);
  const expected = Float32Array.from(
    { length: 300_001 },
    (_, i) => 0.01 + (65536 * rgb[3 * i] + 256 * rgb[3 * i + 1] + rgb[3 * i + 2]) * step,
  );
  expect(Buffer.compare(Buffer.from(depth.buffer), Buffer.from(expected.buffer))).toBe(0);
  for (const pixels of [0, 1, 2, 3, 5])
    expect(decodeDepth(rgb.subarray(0, 3 * pixels), { near: 0.01, far: 3.5 })).toEqual(expected.subarray(0, pixels));
});

test("alpha is not read, a palette is looked up, interlaced rows are put in place", () => {
  const pixels = randomBytes(5 * 4 * 3, 1);
  const rgba = Uint8Array.from({ length: 5 * 4 * 4 }, (_, i) =>
    i % 4 === 3 ? i : pixels[Math.floor(i / 4) * 3 + (i % 4)],
  );
  writeFileSync(file, encode({ width: 5, height: 4, channels: 4, depth: 8, data: rgba }));
  expect(readPng(file, 5, 4).data).toEqual(pixels);

  const colors = pngChunk("PLTE", Uint8Array.of(1, 2, 3, 40, 50, 60));
  writePng(header(3, 2, 1, PALETTE), Uint8Array.of(0, 0b01000000, 0, 0b11100000), colors);
  expect([...readPng(file, 3, 2).data]).toEqual([1, 2, 3, 40, 50, 60, 1, 2, 3, 40, 50, 60, 40, 50, 60, 40, 50, 60]);

  // 2×2 by Adam7: pixel (0, 0) in pass 1, (1, 0) in pass 6, the second row in pass 7.
  writePng(header(2, 2, 8, RGB, 1), Uint8Array.of(0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12));
  expect([...readPng(file, 2, 2).data]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
});

test("16-bit grey is depth in millimetres", () => {
  writeFileSync(file, encode({ width: 3, height: 1, channels: 1, depth: 16, data: Uint16Array.of(0, 1500, 65535) }));
  expect(readDepthPng(file, 3, 1)).toEqual(Float32Array.of(0, 1.5, 65.535));
  expect(readDepthPng(file, 3, 1, 0.0001)).toEqual(Float32Array.of(0, 0.15, 6.5535));
  expect(() => readPng(file, 3, 1)).toThrow(/not 8-bit RGB: its colour type is 0 with 16 bits/);
  writeFileSync(file, encode({ width: 1, height: 1, channels: 3, depth: 8, data: new Uint8Array(3) }));
  expect(() => readDepthPng(file, 1, 1)).toThrow(/not 16-bit grey/);
});

test("what a header or palette gets wrong is refused by name", () => {
  const rows = Buffer.alloc(2 * 7);
  const hostile: [string, () => void, RegExp][] = [
    ["an unknown bit depth", () => writePng(header(2, 2, 3, RGB), rows), /unknown combination/],
    ["an unknown colour type", () => writePng(header(2, 2, 8, 5), rows), /unknown combination/],
    ["rows missing between passes", () => writePng(header(2, 2, 8, RGB, 1), rows), /14 bytes of pixels, expected 15/],
    ["no palette", () => writePng(header(2, 2, 8, PALETTE), Buffer.alloc(6)), /corrupt or truncated/],
    [
      "an index beyond the palette",
      () => writePng(header(2, 2, 8, PALETTE), Buffer.alloc(6, 1), pngChunk("PLTE", Buffer.alloc(3))),
      /corrupt or truncated/,
    ],
    ["far more bytes than pixels", () => writePng(header(2, 2, 8, 6), Buffer.alloc(2 ** 26)), /corrupt or truncated/],
    ["a header twice", () => writePng(header(2, 2, 8, RGB), rows, header(2, 2, 8, RGB)), /a second header/],
    ["no header", () => writePng(Buffer.alloc(0), rows), /first chunk is no header/],
  ];
  for (const [what, write, message] of hostile) {
    write();
    expect(() => readPng(file, 2, 2), what).toThrow(DataError);
    expect(() => readPng(file, 2, 2), what).toThrow(message);
    expect(() => readPng(file, 2, 2), what).toThrow(file);
  }
});

test("a colour profile that unpacks to gigabytes is not unpacked", () => {
  const profile = Buffer.concat([Buffer.from("p\0\0", "latin1"), deflateSync(Buffer.alloc(2 ** 24))]);
  const rows = Uint8Array.of(0, 1, 2, 3, 255);
  writePng(header(1, 1, 8, 6), rows, pngChunk("iCCP", profile));
  expect([...readPng(file, 1, 1).data]).toEqual([1, 2, 3]);
});
