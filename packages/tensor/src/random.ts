import { native, ValueError } from "@md/native";
import { deviceCode, type DeviceName } from "./device.js";
import { type DType, dtypeCode } from "./dtype.js";
import { extents, product } from "./ops/shape.js";
import { takeOutput, type Tensor } from "./tensor.js";

/** Where a generator stands: `offset` counts the Philox blocks of 128 bits that it has used. */
export interface GeneratorState {
  seed: number;
  offset: number;
}

/**
 * A stream of random numbers: Philox4x32-10 (Salmon et al., 2011) keyed by `seed`, an integer from 0 to 2^53 - 1. Nothing
 * draws without a generator. The numbers depend on seed and offset alone, not on threads, processor or device.
 */
export class Generator {
  private seed: number;
  private offset = 0;

  constructor(seed: number) {
    this.seed = natural("seed", seed);
  }

  /** All there is to save and restore: the same state gives the same numbers. */
  get state(): GeneratorState {
    return { seed: this.seed, offset: this.offset };
  }
  set state({ seed, offset }: GeneratorState) {
    this.seed = natural("seed", seed);
    this.offset = natural("offset", offset);
  }

  /**
   * An independent generator for a part of the program, from the seed and `name` alone: what this one has drawn does
   * not matter, and the same name gives the same stream again.
   */
  fork(name: string | number): Generator {
    const index = typeof name === "number" ? natural("name", name) : hash(name);
    return new Generator(native.childSeed(this.seed, index));
  }

  /** The state for a draw of `count` elements, `perBlock` a block, and moves past it. */
  take(count: number, perBlock: number): GeneratorState {
    const { state } = this;
    this.offset = natural("offset", this.offset + Math.ceil(count / perBlock));
    return state;
  }
}

function natural(what: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new ValueError(`[Generator] ${what} is ${value}, expected an integer from 0 to 2^53 - 1`);
  }
  return value;
}

// FNV-1a, its upper 53 bits.
function hash(name: string): number {
  let state = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(name))
    state = BigInt.asUintN(64, (state ^ BigInt(byte)) * 0x100000001b3n);
  return Number(state >> 11n);
}

interface DrawOptions {
  generator: Generator;
  /** Default "cpu". The numbers are the same on every device. */
  device?: DeviceName;
}
export interface RandomOptions extends DrawOptions {
  /** f32 (default) or f64; the two draw different numbers. */
  dtype?: DType;
}

/** Standard normal numbers (Box & Muller, 1958). */
export function randn(shape: readonly number[], { generator, dtype = "f32", device }: RandomOptions): Tensor {
  const dims = extents("randn", shape);
  const { seed, offset } = generator.take(product(shape), dtype === "f64" ? 2 : 4);
  native.randn(dtypeCode(dtype), dims, 0, 1, seed, offset, deviceCode("randn", device));
  return takeOutput(0);
}

/** Uniform numbers of [low, high), default [0, 1). ValueError unless low < high, both finite. */
export function rand(
  shape: readonly number[],
  { generator, dtype = "f32", low = 0, high = 1, device }: RandomOptions & { low?: number; high?: number },
): Tensor {
  const dims = extents("rand", shape);
  const { seed, offset } = generator.take(product(shape), dtype === "f64" ? 2 : 4);
  native.rand(dtypeCode(dtype), dims, low, high, seed, offset, deviceCode("rand", device));
  return takeOutput(0);
}

/** Integers of [low, high) as i64. ValueError unless low < high, both integers within ±(2^53 - 1). */
export function randint(
  low: number,
  high: number,
  shape: readonly number[],
  { generator, device }: DrawOptions,
): Tensor {
  const dims = extents("randint", shape);
  const { seed, offset } = generator.take(product(shape), 2);
  native.randint(dims, low, high, seed, offset, deviceCode("randint", device));
  return takeOutput(0);
}

/** bool, true with the given probability. */
export function bernoulli(shape: readonly number[], probability: number, { generator, device }: DrawOptions): Tensor {
  const dims = extents("bernoulli", shape);
  const { seed, offset } = generator.take(product(shape), 4);
  native.bernoulli(dims, probability, seed, offset, deviceCode("bernoulli", device));
  return takeOutput(0);
}
