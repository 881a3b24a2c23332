import { deflateSync } from "node:zlib";
import { pngChunk } from "../../../packages/rlbench-data/test/support/png-chunk.js";
import type { Seed } from "../target.js";

export const SIDE = 4;
const SIGNATURE = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");

/** Bits a pixel of each kind of image that is read: bit depth, colour type, channels, interlaced. */
const KINDS = [
  [8, 2, 3, 0],
  [8, 2, 3, 1],
  [8, 6, 4, 0],
  [8, 3, 1, 0],
  [2, 3, 1, 0],
  [16, 0, 1, 0],
] as const;

function header(bits: number, colorType: number, interlaced: number): Buffer {
  const data = Buffer.alloc(13);
  data.writeUInt32BE(SIDE, 0);
  data.writeUInt32BE(SIDE, 4);
  data.set([bits, colorType, 0, 0, interlaced], 8);
  return data;
}

const assemble = (head: Uint8Array, compressed: Uint8Array): Buffer =>
  Buffer.concat([
    SIGNATURE,
    pngChunk("IHDR", head),
    pngChunk("PLTE", Buffer.from([0, 0, 0, 255, 0, 0, 0, 255, 0])),
    pngChunk("IDAT", compressed),
    pngChunk("IEND", Buffer.alloc(0)),
  ]);

/** Rows with each of the filters; Adam7 has more bytes of filters than rows. */
function rowsOf(bits: number, channels: number, interlaced: number): Buffer {
  const stride = (SIDE * channels * bits) / 8;
  const rows = Buffer.alloc(interlaced ? SIDE * stride + 10 : SIDE * (1 + stride));
  if (!interlaced) for (let y = 0; y < SIDE; y++) rows.fill(y + 1, y * (1 + stride)).writeUInt8(y, y * (1 + stride));
  return rows;
}

/** A 4×4 image, 8-bit RGB. */
export const smallPng = assemble(header(8, 2, 0), deflateSync(rowsOf(8, 3, 0)));

/** Images, and of each: its pixels, its compressed pixels and its header, with the right checksums put around them. */
export const pngSeeds = (): Seed[] =>
  KINDS.flatMap(([bits, colorType, channels, interlaced]) => {
    const [head, rows] = [header(bits, colorType, interlaced), rowsOf(bits, channels, interlaced)];
    return [
      { content: assemble(head, deflateSync(rows)) },
      { content: rows, wrap: (content) => assemble(head, deflateSync(content, { level: 1 })) },
      { content: deflateSync(rows), wrap: (content) => assemble(head, content) },
      { content: head, wrap: (content) => assemble(content, deflateSync(rows)) },
    ];
  });
