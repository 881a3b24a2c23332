import Blosc from "numcodecs/blosc";
import { DataError } from "../errors.js";

const HEADER = 16;
const VERSION = 2;
const COPIED = 0x02;
/** Of a block's compressed stream, its length. */
const MIN_BLOCK = 4;
const MAX_BYTES = 256 * 2 ** 20;

const codec = new Blosc();

/**
 * Decompresses one blosc chunk, as python-blosc's `compress` writes it, with any of its codecs. Sizes and the table of
 * blocks are checked first: what is allocated is bounded by 256 MiB.
 *
 * @throws DataError naming the source: no chunk, truncated, corrupt, or too large
 */
export async function decodeBlosc(bytes: Uint8Array, source: string): Promise<Uint8Array> {
  const size = checkChunk(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), source);
  let decoded: Uint8Array;
  try {
    decoded = await codec.decode(bytes);
  } catch (error) {
    throw new DataError(source, `blosc chunk is corrupt: ${String(error)}`, { cause: error });
  }
  if (decoded.length !== size)
    throw new DataError(source, `blosc chunk gives ${decoded.length} bytes, expected ${size}: corrupt`);
  return decoded;
}

/** The size of a chunk's content, after its header and block offsets have been checked. */
function checkChunk(bytes: Buffer, source: string): number {
  const fail = (problem: string): DataError => new DataError(source, `blosc ${problem}`);
  if (bytes.length < HEADER) throw fail(`chunk has ${bytes.length} bytes, expected a header of ${HEADER}`);
  if (bytes[0] !== VERSION) throw fail(`version is ${bytes[0]}, expected ${VERSION}`);
  const [size, block, compressed] = [bytes.readUInt32LE(4), bytes.readUInt32LE(8), bytes.readUInt32LE(12)];
  if (compressed !== bytes.length)
    throw fail(`cbytes is ${compressed}, but the chunk has ${bytes.length} bytes: truncated`);
  if (!(size > 0 && size <= MAX_BYTES)) throw fail(`nbytes is ${size}, expected 1 to ${MAX_BYTES}`);
  if (bytes[2] & COPIED) {
    if (compressed !== size + HEADER) throw fail(`nbytes is ${size} in a plain copy of ${compressed - HEADER} bytes`);
    return size;
  }
  if (!(block > 0 && block <= size)) throw fail(`blocksize is ${block}, expected 1 to ${size}`);
  const blocks = Math.ceil(size / block);
  const first = HEADER + 4 * blocks;
  if (first > compressed) throw fail(`chunk of ${compressed} bytes has no room for ${blocks} blocks`);
  for (let i = 0; i < blocks; i++) {
    const start = bytes.readUInt32LE(HEADER + 4 * i);
    if (!(start >= first && start + MIN_BLOCK <= compressed)) throw fail(`block ${i} begins at byte ${start}`);
  }
  return size;
}
