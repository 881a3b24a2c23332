import { crc32, deflateSync } from "node:zlib";
import { encodeDepth, makeReachScene, renderScene, SYNTHETIC_CAMERAS } from "@md/rlbench-data";
import { mulberry32 } from "@md/tensor";

/** A colour and a depth image as RLBench writes them. */
export interface PngFrame {
  width: number;
  height: number;
  color: Uint8Array;
  depth: Uint8Array;
  /** Near and far plane, metres. */
  near: number;
  far: number;
}

/** Of colours, either way: so many bytes as those of RLBench's textured scenes. */
const NOISE = 3;

/** A rendered scene with noise on its colours, filtered row by row as libpng does. */
export function makePngFrame(): PngFrame {
  const [calibration] = SYNTHETIC_CAMERAS.values();
  const { width, height, rgb, depth } = renderScene(makeReachScene(1, 0), calibration);
  const random = mulberry32(1);
  const noisy = Uint8Array.from(rgb, (value) =>
    Math.max(0, Math.min(255, value + Math.round((2 * random() - 1) * NOISE))),
  );
  const { near, far } = calibration;
  return {
    width,
    height,
    color: encodeFiltered(noisy, width, height),
    depth: encodeFiltered(encodeDepth(depth, calibration), width, height),
    near,
    far,
  };
}

/** An 8-bit RGB PNG; each row has the filter whose bytes, taken as signed, sum up to the least magnitude. */
function encodeFiltered(pixels: Uint8Array, width: number, height: number): Uint8Array {
  const stride = 3 * width;
  const rows = new Uint8Array(height * (stride + 1));
  for (let y = 0; y < height; y++) {
    let least = Infinity;
    for (let filter = 0; filter < 5; filter++) {
      const row = filterRow(pixels, y, stride, filter);
      const sum = row.reduce((total, value) => total + Math.min(value, 256 - value), 0);
      if (sum >= least) continue;
      least = sum;
      rows[y * (stride + 1)] = filter;
      rows.set(row, y * (stride + 1) + 1);
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function filterRow(pixels: Uint8Array, y: number, stride: number, filter: number): Uint8Array {
  const at = (row: number, i: number): number => (row < 0 || i < 0 ? 0 : pixels[row * stride + i]);
  return Uint8Array.from({ length: stride }, (_, i) => {
    const [left, above, upperLeft] = [at(y, i - 3), at(y - 1, i), at(y - 1, i - 3)];
    const guess = left + above - upperLeft;
    const nearest = [left, above, upperLeft].reduce((best, value) =>
      Math.abs(guess - value) < Math.abs(guess - best) ? value : best,
    );
    return at(y, i) - [0, left, above, (left + above) >> 1, nearest][filter];
  });
}

function chunk(type: string, data: Uint8Array): Buffer {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, "latin1");
  bytes.set(data, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
}
