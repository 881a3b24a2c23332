import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import { decode, encode } from "fast-png";
import { beforeEach, expect, test } from "vitest";
import { CounterRandom, DataError } from "../src/index.js";
import { readDepthPng, readPng } from "../src/png.js";
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
