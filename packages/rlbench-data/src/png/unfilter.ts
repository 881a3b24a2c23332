/** Bytes between a byte and its left neighbour in 8-bit RGB. */
const PIXEL = 3;

/**
 * Undoes the row filters of an 8-bit RGB PNG without interlacing (PNG specification, section 9.2), in place: what a
 * row becomes lies before what is left to read.
 *
 * @param rows [height, 1 + 3 width]: each row's filter, then its bytes
 * @returns [height, width, 3], the front of `rows`
 * @throws Error on an unknown filter
 */
export function unfilterRgb(rows: Uint8Array, width: number, height: number): Uint8Array {
  const stride = PIXEL * width;
  const words = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
  for (let y = 0; y < height; y++) {
    const from = y * (stride + 1) + 1;
    const to = y * stride;
    const filter = rows[from - 1];
    // Above the first row there are zeros: nothing to add, and Paeth's choice is the left neighbour.
    if (filter === 0 || (filter === 2 && y === 0)) rows.copyWithin(to, from, from + stride);
    else if (filter === 1 || (filter === 4 && y === 0)) unfilterSub(rows, from, to, stride);
    else if (filter === 2) unfilterUp(rows, words, from, to, stride);
    else if (filter === 3) unfilterAverage(rows, from, to, stride, y === 0);
    else if (filter === 4) unfilterPaeth(words, from, to, stride);
    else throw new Error(`row ${y} has the unknown filter ${filter}`);
  }
  return rows.subarray(0, height * stride);
}

function unfilterSub(rows: Uint8Array, from: number, to: number, stride: number): void {
  let r = 0;
  let g = 0;
  let b = 0;
  for (let i = 0; i < stride; i += PIXEL) {
    rows[to + i] = r = (r + rows[from + i]) & 255;
    rows[to + i + 1] = g = (g + rows[from + i + 1]) & 255;
    rows[to + i + 2] = b = (b + rows[from + i + 2]) & 255;
  }
}

// Four bytes at a time: their low 7 bits are added without carries between them, then the high bits.
function unfilterUp(rows: Uint8Array, words: DataView, from: number, to: number, stride: number): void {
  let i = 0;
  for (; i + 4 <= stride; i += 4) {
    const raw = words.getUint32(from + i, true);
    const above = words.getUint32(to + i - stride, true);
    words.setUint32(to + i, ((raw & 0x7f7f7f7f) + (above & 0x7f7f7f7f)) ^ ((raw ^ above) & 0x80808080), true);
  }
  for (; i < stride; i++) rows[to + i] = rows[from + i] + rows[to + i - stride];
}

function unfilterAverage(rows: Uint8Array, from: number, to: number, stride: number, first: boolean): void {
  for (let i = 0; i < stride; i++) {
    const left = i < PIXEL ? 0 : rows[to + i - PIXEL];
    const above = first ? 0 : rows[to + i - stride];
    rows[to + i] = rows[from + i] + ((left + above) >> 1);
  }
}

// Lanes of 10 bits, one a channel: a byte, and room for a sum, a sign and the sign's carry.
const SIGNS = (1 << 9) | (1 << 19) | (1 << 29);
const BELOW_SIGNS = SIGNS - (SIGNS >>> 9);
const BYTES = 255 | (255 << 10) | (255 << 20);

/**
 * Of left, above and upper left, Paeth's predictor is the one nearest to left + above - upper left, in doubt the
 * first. All three channels of a pixel are computed at once in the lanes of one integer, and without branches, which
 * noisy pixels would make the processor guess wrong.
 */
function unfilterPaeth(words: DataView, from: number, to: number, stride: number): void {
  let left = 0;
  let upperLeft = 0;
  for (let i = 0; i < stride; i += PIXEL) {
    const above = readLanes(words, to - stride + i);
    const toLeft = magnitudes((above | SIGNS) - upperLeft);
    const toAbove = magnitudes((left | SIGNS) - upperLeft);
    const toUpperLeft = magnitudes(((left + above) | SIGNS) - 2 * upperLeft);
    const notLeft = fill(below(toAbove, toLeft) | below(toUpperLeft, toLeft));
    const other = above ^ ((above ^ upperLeft) & fill(below(toUpperLeft, toAbove)));
    left = (readLanes(words, from + i) + (left ^ ((left ^ other) & notLeft))) & BYTES;
    words.setUint16(to + i, (left & 255) | ((left >> 2) & 0xff00), true);
    words.setUint8(to + i + 2, left >> 20);
    upperLeft = above;
  }
}

function readLanes(words: DataView, at: number): number {
  const low = words.getUint16(at, true);
  return (low & 255) | ((low & 0xff00) << 2) | (words.getUint8(at + 2) << 20);
}

/** Magnitude of each lane's number, which has 512 added to it. */
function magnitudes(lanes: number): number {
  const negative = (~lanes & SIGNS) >>> 9;
  return ((lanes & BELOW_SIGNS) ^ ((negative << 9) - negative)) + negative;
}

/** The sign bit of each lane where a < b; both are below 512. */
const below = (a: number, b: number): number => ~((a | SIGNS) - b) & SIGNS;

/** 511 in each lane whose sign bit is set. */
const fill = (signs: number): number => signs - (signs >>> 9);
