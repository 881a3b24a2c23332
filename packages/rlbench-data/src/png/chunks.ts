import { crc32 } from "node:zlib";

/** What of a PNG decides its pixels. */
export interface PngChunks {
  width: number;
  height: number;
  bitDepth: number;
  /** One of {@link ColorType}. */
  colorType: number;
  interlaced: boolean;
  /** The data of `PLTE`, if any. */
  palette: Buffer | null;
  /** The data of all `IDAT` chunks, joined: one zlib stream. */
  compressed: Buffer;
}

export const ColorType = { grey: 0, rgb: 2, palette: 3, greyAlpha: 4, rgbAlpha: 6 } as const;

const SIGNATURE = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
/** Of a chunk beside its data: length, type, checksum. */
const AROUND_DATA = 12;
const HEADER_DATA = 13;

/** Channels of each colour type. */
const CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
/** Bit depths of each colour type (PNG specification, third edition, table 12). */
const BIT_DEPTHS: Readonly<Record<number, readonly number[]>> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};

/**
 * Splits a PNG into chunks, up to `IEND`. Nothing is decompressed; chunks beside the critical ones are skipped.
 *
 * @throws Error when it is no PNG, a checksum is wrong, or the file ends before `IEND`
 */
export function readChunks(bytes: Buffer): PngChunks {
  if (!bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE)) throw new Error("no PNG signature");
  let header: ReturnType<typeof readHeader> | null = null;
  let palette: Buffer | null = null;
  const parts: Buffer[] = [];
  for (let at = SIGNATURE.length; ;) {
    if (at + AROUND_DATA > bytes.length) throw new Error("the file ends before its last chunk");
    const length = bytes.readUInt32BE(at);
    if (at + AROUND_DATA + length > bytes.length) throw new Error("a chunk reaches beyond the file's end");
    const type = bytes.toString("latin1", at + 4, at + 8);
    if (crc32(bytes.subarray(at + 4, at + 8 + length)) !== bytes.readUInt32BE(at + 8 + length))
      throw new Error(`the checksum of chunk ${JSON.stringify(type)} is wrong`);
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (header === null) {
      if (type !== "IHDR") throw new Error("the first chunk is no header");
      header = readHeader(data);
    } else if (type === "IHDR") throw new Error("a second header");
    else if (type === "PLTE") palette = data;
    else if (type === "IDAT") parts.push(data);
    else if (type === "IEND") break;
    at += AROUND_DATA + length;
  }
  return { ...header, palette, compressed: parts.length === 1 ? parts[0] : Buffer.concat(parts) };
}

function readHeader(data: Buffer): Omit<PngChunks, "palette" | "compressed"> {
  if (data.length !== HEADER_DATA) throw new Error(`the header has ${data.length} bytes, expected ${HEADER_DATA}`);
  const [bitDepth, colorType, compression, filter, interlace] = data.subarray(8);
  if (!BIT_DEPTHS[colorType]?.includes(bitDepth) || compression !== 0 || filter !== 0 || interlace > 1)
    throw new Error(`the header has an unknown combination ${[...data.subarray(8)].join(", ")}`);
  return {
    width: data.readUInt32BE(0),
    height: data.readUInt32BE(4),
    bitDepth,
    colorType,
    interlaced: interlace === 1,
  };
}

/** A PNG of the critical chunks alone. */
export function writeChunks(chunks: PngChunks): Buffer {
  const header = Buffer.alloc(HEADER_DATA);
  header.writeUInt32BE(chunks.width, 0);
  header.writeUInt32BE(chunks.height, 4);
  header.set([chunks.bitDepth, chunks.colorType, 0, 0, Number(chunks.interlaced)], 8);
  return Buffer.concat([
    SIGNATURE,
    chunk("IHDR", header),
    ...(chunks.palette ? [chunk("PLTE", chunks.palette)] : []),
    chunk("IDAT", chunks.compressed),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Buffer): Buffer {
  const bytes = Buffer.alloc(AROUND_DATA + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, "latin1");
  data.copy(bytes, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
}

/** First column and row of each Adam7 pass, and the steps between its columns and rows. */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/** Bytes of an image's rows with their filter bytes, once decompressed. */
export function filteredBytes({ width, height, bitDepth, colorType, interlaced }: PngChunks): number {
  const passBytes = (columns: number, rows: number): number =>
    columns === 0 ? 0 : rows * (1 + Math.ceil((columns * CHANNELS[colorType] * bitDepth) / 8));
  if (!interlaced) return passBytes(width, height);
  return ADAM7.reduce(
    (sum, [x, y, dx, dy]) =>
      sum + passBytes(Math.max(0, Math.ceil((width - x) / dx)), Math.max(0, Math.ceil((height - y) / dy))),
    0,
  );
}
