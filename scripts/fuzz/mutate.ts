import type { CounterRandom } from "@md/rlbench-data";

const MAX_BYTES = 65_536;
const INTEGERS = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff];
/** Text that means something to one of the formats. */
const WORDS = [
  "null",
  "-1",
  "1e999",
  "[]",
  "{}",
  '"',
  "\\",
  "__proto__",
  "constructor",
  "../",
  "\0",
  "NaN",
  "&a",
  "*a",
];
const BRACKETS = ["[]", "{}", "()"];

type Mutation = (bytes: Buffer, random: CounterRandom, other: Buffer) => Buffer;

const at = (bytes: Buffer, random: CounterRandom, width = 1): number =>
  random.below(Math.max(1, bytes.length - width + 1));

const insert = (bytes: Buffer, position: number, part: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, position), part, bytes.subarray(position)]);

function piece(bytes: Buffer, random: CounterRandom): Buffer {
  const start = at(bytes, random);
  return bytes.subarray(start, start + 1 + random.below(random.below(4) === 0 ? 1024 : 16));
}

function setInteger(bytes: Buffer, random: CounterRandom, value: (old: number) => number): Buffer {
  const width = [1, 2, 4, 8][random.below(4)];
  if (bytes.length < width) return bytes;
  let position = at(bytes, random, width);
  if (random.below(2) === 0) position -= position % width;
  const isLittle = random.below(4) > 0;
  const bits = Math.min(width, 4);
  const offset = isLittle ? position : position + width - bits;
  const old = isLittle ? bytes.readUIntLE(offset, bits) : bytes.readUIntBE(offset, bits);
  const wrapped = value(old) >>> 0;
  const fitting = bits === 4 ? wrapped : wrapped % 256 ** bits;
  if (isLittle) bytes.writeUIntLE(fitting, offset, bits);
  else bytes.writeUIntBE(fitting, offset, bits);
  if (width === 8)
    bytes.fill(random.below(8) === 0 ? 0xff : 0, isLittle ? position + 4 : position, position + (isLittle ? 8 : 4));
  return bytes;
}

const MUTATIONS: readonly Mutation[] = [
  (bytes, random) => {
    if (bytes.length > 0) bytes[at(bytes, random)] ^= 1 << random.below(8);
    return bytes;
  },
  (bytes, random) => {
    if (bytes.length > 0) bytes[at(bytes, random)] = random.below(256);
    return bytes;
  },
  (bytes, random) => setInteger(bytes, random, () => INTEGERS[random.below(INTEGERS.length)]),
  // Lengths that are off by little, and by as much as the file has.
  (bytes, random) => setInteger(bytes, random, (old) => old + random.below(17) - 8),
  (bytes, random) => setInteger(bytes, random, () => bytes.length + random.below(9) - 4),
  (bytes, random) => bytes.subarray(0, at(bytes, random)),
  (bytes, random) => {
    const start = at(bytes, random);
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(start + 1 + random.below(16))]);
  },
  (bytes, random) => insert(bytes, at(bytes, random), piece(bytes, random)),
  (bytes, random) => insert(bytes, at(bytes, random), repeat(piece(bytes, random), 2 + random.below(64))),
  (bytes, random, other) => insert(bytes, at(bytes, random), piece(other, random)),
  (bytes, random, other) => Buffer.concat([bytes.subarray(0, at(bytes, random)), other.subarray(at(other, random))]),
  (bytes, random) => {
    piece(bytes, random).copy(bytes, at(bytes, random));
    return bytes;
  },
  (bytes, random) => insert(bytes, at(bytes, random), Buffer.from(WORDS[random.below(WORDS.length)], "latin1")),
  // Digits become other digits: sizes in text.
  (bytes, random) => {
    const start = at(bytes, random);
    const found = bytes.subarray(start).findIndex((byte) => byte >= 0x30 && byte <= 0x39);
    if (found < 0) return bytes;
    const digits = ["-1", "0", "9", "4294967296", "9007199254740993", "1e300", "0.5"][random.below(7)];
    return Buffer.concat([bytes.subarray(0, start + found), Buffer.from(digits), bytes.subarray(start + found + 1)]);
  },
  // Seldom, since they are slow: values that are nested deeply.
  (bytes, random) => {
    if (random.below(8) > 0) return bytes;
    const [open, close] = BRACKETS[random.below(BRACKETS.length)];
    const [depth, position] = [random.below(10_000), at(bytes, random)];
    return insert(bytes, position, Buffer.from(open.repeat(depth) + (random.below(2) ? close.repeat(depth) : "")));
  },
];

const repeat = (bytes: Buffer, count: number): Buffer => Buffer.concat(Array.from({ length: count }, () => bytes));

/** One to six mutations of `content`, a function of the generator's state; `other` is spliced into it. At most 64 KiB. */
export function mutate(content: Uint8Array, other: Uint8Array, random: CounterRandom): Uint8Array {
  let bytes = Buffer.from(content);
  const donor = Buffer.from(other.buffer, other.byteOffset, other.length);
  for (let left = 1 + random.below(random.below(3) === 0 ? 6 : 2); left > 0; left--)
    bytes = Buffer.from(MUTATIONS[random.below(MUTATIONS.length)](bytes, random, donor).subarray(0, MAX_BYTES));
  return new Uint8Array(bytes);
}
