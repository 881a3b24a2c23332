import { KERNELS_WASM } from "./kernels-wasm.js";

// The types of Node.js leave it to those of browsers.
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { exports: unknown };
};

interface Kernels {
  memory: { readonly buffer: ArrayBuffer; grow(pages: number): void };
  /** Rows undone, of [height, 1 + stride] at `rows` to [height, stride] at `out`, before which the row above lies. */
  unfilter(rows: number, out: number, stride: number, height: number): number;
  /** `count` numbers of 24 bits at `rgb` to f32 at `out`: near + number · step. */
  metres(rgb: number, out: number, count: number, near: number, step: number): void;
}

/** Bytes beyond their operands that the kernels read and write. */
const SLACK = 16;
const PAGE_BYTES = 65536;
/** Of the kernels' memory: larger images go through it in bands. */
const BAND_BYTES = 2 ** 20;

let loaded: Kernels | null = null;
function kernels(): Kernels {
  loaded ??= new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(KERNELS_WASM, "base64"))).exports as Kernels;
  return loaded;
}

/**
 * Undoes the row filters of an 8-bit RGB PNG without interlacing.
 *
 * @param rows [height, 1 + 3 width]: each row's filter, then its bytes
 * @returns [height, width, 3]
 * @throws Error on an unknown filter
 */
export function unfilterRgb(rows: Uint8Array, width: number, height: number): Uint8Array {
  const { memory, unfilter } = kernels();
  const stride = 3 * width;
  const bandRows = Math.max(1, Math.floor((BAND_BYTES - stride - 2 * SLACK) / (2 * stride + 1)));
  // Of memory: the row above, the band's pixels, its filtered rows.
  const from = stride + bandRows * stride + SLACK;
  const missing = from + bandRows * (stride + 1) + SLACK - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES));
  const bytes = new Uint8Array(memory.buffer);
  const pixels = new Uint8Array(height * stride);
  bytes.fill(0, 0, stride);
  for (let y = 0; y < height; y += bandRows) {
    const count = Math.min(bandRows, height - y);
    bytes.set(rows.subarray(y * (stride + 1), (y + count) * (stride + 1)), from);
    const done = unfilter(from, stride, stride, count);
    if (done < count) throw new Error(`row ${y + done} has the unknown filter ${rows[(y + done) * (stride + 1)]}`);
    pixels.set(bytes.subarray(stride, stride + count * stride), y * stride);
    bytes.copyWithin(0, count * stride, (count + 1) * stride);
  }
  return pixels;
}

/** Pixels of depth at a time: their colours and metres fit into a band. */
const BAND_PIXELS = 2 ** 17;

/**
 * Numbers of 24 bits as lengths, computed in f64.
 *
 * @param rgb 3 bytes a number, the highest first
 * @returns f32, near + number · step
 */
export function scale24Bits(rgb: Uint8Array, near: number, step: number): Float32Array {
  const { memory, metres } = kernels();
  const lengths = new Float32Array(rgb.length / 3);
  const bytes = new Uint8Array(memory.buffer);
  const to = 3 * BAND_PIXELS + SLACK;
  for (let i = 0; i < lengths.length; i += BAND_PIXELS) {
    const count = Math.min(BAND_PIXELS, lengths.length - i);
    bytes.set(rgb.subarray(3 * i, 3 * (i + count)));
    metres(0, to, count, near, step);
    lengths.set(new Float32Array(memory.buffer, to, count), i);
  }
  return lengths;
}
