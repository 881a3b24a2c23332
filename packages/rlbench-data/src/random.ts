import { DataError } from "./errors.js";

/** Words of the stream's name: a generator's numbers are a function of (seed, stream) alone. */
export type StreamId = readonly [number, number, number];

/**
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC11). The key is the seed, three counter words name the stream, the fourth counts blocks.
 */
export class CounterRandom {
  private readonly block = new Uint32Array(4);
  private used = 4;
  private count = 0;
  private readonly key0: number;
  private readonly key1: number;
  private readonly word0: number;
  private readonly word1: number;
  private readonly word2: number;

  /**
   * @param seed non-negative integer below 2^53
   * @param stream three unsigned 32-bit words, e.g. (purpose, epoch, index)
   * @throws DataError when the seed is no such integer
   */
  constructor(seed: number, stream: StreamId = [0, 0, 0]) {
    if (!Number.isSafeInteger(seed) || seed < 0)
      throw new DataError("seed", `is ${seed}, expected an integer in [0, 2^53)`);
    this.key0 = seed >>> 0;
    this.key1 = Math.floor(seed / 2 ** 32);
    [this.word0, this.word1, this.word2] = stream;
  }

  /** Next unsigned 32-bit integer. */
  uint32(): number {
    if (this.used === 4) {
      philox4x32(this.block, this.count++, this.word0, this.word1, this.word2, this.key0, this.key1);
      this.used = 0;
    }
    return this.block[this.used++];
  }

  /** Uniform in [0, 1), 32 bits of it. */
  uniform(): number {
    return this.uint32() / 2 ** 32;
  }

  /** Uniform in [low, high). */
  between(low: number, high: number): number {
    return low + (high - low) * this.uniform();
  }

  /** Uniform integer in [0, count); the bias of at most count/2^32 is accepted. */
  below(count: number): number {
    return Math.floor(this.uniform() * count);
  }

  /** The integers 0 .. count-1 in random order. */
  permutation(count: number): Int32Array {
    return this.choose(count, count);
  }

  /** `chosen` different integers of 0 .. count-1, in random order. */
  choose(count: number, chosen: number): Int32Array {
    const all = new Int32Array(count);
    for (let i = 0; i < count; i++) all[i] = i;
    for (let i = 0; i < chosen; i++) {
      const j = i + this.below(count - i);
      const swap = all[i];
      all[i] = all[j];
      all[j] = swap;
    }
    return all.subarray(0, chosen);
  }
}

/** High 32 bits of the product of two unsigned 32-bit integers, as a signed one. */
function multiplyHigh(a: number, b: number): number {
  const aHigh = a >>> 16;
  const aLow = a & 0xffff;
  const bHigh = b >>> 16;
  const bLow = b & 0xffff;
  // Each product is below 2^32 and each sum below 2^32 too: all stay integers of 32 bits.
  const middle = (Math.imul(aHigh, bLow) >>> 0) + (Math.imul(aLow, bLow) >>> 16);
  const low = (middle & 0xffff) + (Math.imul(aLow, bHigh) >>> 0);
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (low >>> 16)) | 0;
}

/** One Philox4x32-10 block: 128 random bits of a 128-bit counter and a 64-bit key. */
export function philox4x32(
  out: Uint32Array,
  counter0: number,
  counter1: number,
  counter2: number,
  counter3: number,
  key0: number,
  key1: number,
): void {
  let c0 = counter0 | 0;
  let c1 = counter1 | 0;
  let c2 = counter2 | 0;
  let c3 = counter3 | 0;
  let k0 = key0 | 0;
  let k1 = key1 | 0;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}
