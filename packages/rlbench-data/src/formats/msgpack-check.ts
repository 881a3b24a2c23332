import { DataError } from "../errors.js";

const MAX_DEPTH = 32;
const MAX_VALUES = 2 ** 20;

/**
 * Walks over one msgpack value without building it. A decoder allocates what a header announces before it looks for it,
 * so that a few bytes could ask for gigabytes; after this check every length is known to fit.
 *
 * @throws DataError when a value is truncated, nested deeper than 32, one of over 2^20, or of an extension type, or when
 *   bytes follow
 */
export function checkMsgpack(bytes: Uint8Array, source: string): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  /** Values still to come at each level. */
  const open = [1];
  let at = 0;
  let values = 0;
  const fail = (problem: string): DataError => new DataError(source, `msgpack byte ${at}: ${problem}`);
  const need = (count: number): void => {
    if (count > bytes.length - at) throw fail(`needs ${count} bytes, ${bytes.length - at} are left: truncated`);
  };
  const skip = (count: number): void => {
    need(count);
    at += count;
  };
  const length = (width: 1 | 2 | 4): number => {
    need(width);
    const value = width === 1 ? view.getUint8(at) : width === 2 ? view.getUint16(at) : view.getUint32(at);
    at += width;
    return value;
  };
  const enter = (count: number): void => {
    if (count > bytes.length - at) throw fail(`announces ${count} values, ${bytes.length - at} bytes are left`);
    if (open.length >= MAX_DEPTH) throw fail(`nested deeper than ${MAX_DEPTH}`);
    open.push(count);
  };
  while (open.length > 0) {
    if (open[open.length - 1]-- === 0) {
      open.pop();
      continue;
    }
    if (++values > MAX_VALUES) throw fail(`has more than ${MAX_VALUES} values`);
    const head = length(1);
    if (head <= 0x7f || head >= 0xe0 || head === 0xc0 || head === 0xc2 || head === 0xc3) continue;
    if (head <= 0x8f) enter(2 * (head & 0x0f));
    else if (head <= 0x9f) enter(head & 0x0f);
    else if (head <= 0xbf) skip(head & 0x1f);
    else if (head >= 0xc4 && head <= 0xc6) skip(length(WIDTHS[head - 0xc4]));
    else if (head >= 0xca && head <= 0xd3) skip(NUMBER_BYTES[head - 0xca]);
    else if (head >= 0xd9 && head <= 0xdb) skip(length(WIDTHS[head - 0xd9]));
    else if (head === 0xdc || head === 0xdd) enter(length(head === 0xdc ? 2 : 4));
    else if (head === 0xde || head === 0xdf) enter(2 * length(head === 0xde ? 2 : 4));
    else throw fail(`has type 0x${head.toString(16)}, expected no extension types`);
  }
  if (at !== bytes.length) throw fail(`${bytes.length - at} bytes follow the value`);
}

const WIDTHS = [1, 2, 4] as const;
/** Of f32, f64, u8 … u64, i8 … i64. */
const NUMBER_BYTES = [4, 8, 1, 2, 4, 8, 1, 2, 4, 8];
