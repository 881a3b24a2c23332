const MAX_LINE = 2 ** 20;
const MAX_DIGITS = 310;
const MAX_LONG_BYTES = 128;

/** Bounds-checked reader of a pickle's bytes. */
export class ByteCursor {
  position = 0;
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get remaining(): number {
    return this.bytes.length - this.position;
  }

  /** The next `count` bytes, as a view. */
  take(count: number): Uint8Array {
    const start = this.advance(count);
    return this.bytes.subarray(start, start + count);
  }

  uint8(): number {
    return this.view.getUint8(this.advance(1));
  }

  uint16(): number {
    return this.view.getUint16(this.advance(2), true);
  }

  int32(): number {
    return this.view.getInt32(this.advance(4), true);
  }

  uint32(): number {
    return this.view.getUint32(this.advance(4), true);
  }

  uint64(): number {
    return Number(this.view.getBigUint64(this.advance(8), true));
  }

  float64BigEndian(): number {
    return this.view.getFloat64(this.advance(8), false);
  }

  /** The text up to the next newline, as Latin-1, without the newline. */
  line(): string {
    const end = this.bytes.subarray(this.position, this.position + MAX_LINE).indexOf(0x0a);
    if (end < 0)
      throw new Error(this.remaining < MAX_LINE ? "file ends within a line" : `line of more than ${MAX_LINE} bytes`);
    const start = this.advance(end + 1);
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + start, end).toString("latin1");
  }

  private advance(count: number): number {
    if (!(count >= 0 && count <= this.remaining)) throw new Error(`needs ${count} bytes, ${this.remaining} are left`);
    const start = this.position;
    this.position += count;
    return start;
  }
}

/** A decimal integer; a bigint beyond 2^53. */
export function parseDecimal(text: string): number | bigint {
  if (!/^[+-]?\d+$/.test(text) || text.length > MAX_DIGITS) throw new Error(`"${text.slice(0, 40)}" is no integer`);
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : BigInt(text);
}

/** A little-endian two's complement integer, as LONG1 and LONG4 store it; a bigint beyond 2^53. */
export function parseTwosComplement(bytes: Uint8Array): number | bigint {
  if (bytes.length > MAX_LONG_BYTES)
    throw new Error(`integer of ${bytes.length} bytes, at most ${MAX_LONG_BYTES} are allowed`);
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]);
  value = BigInt.asIntN(8 * bytes.length, value);
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** The argument of opcode FLOAT: Python's `repr` of a float. */
export function parseFloatLine(text: string): number {
  if (text === "nan" || text === "-nan") return NaN;
  if (text === "inf") return Infinity;
  if (text === "-inf") return -Infinity;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) throw new Error(`"${text.slice(0, 40)}" is no float`);
  return Number(text);
}

const SIMPLE_ESCAPES: Record<string, string> = {
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** The argument of opcode STRING: Python 2's `repr` of a byte string. */
export function parseQuotedString(text: string): string {
  const quote = text[0];
  if (text.length < 2 || (quote !== "'" && quote !== '"') || text.at(-1) !== quote)
    throw new Error("string without quotes");
  return text.slice(1, -1).replace(/\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|[^])?/g, (_, escape: string | undefined) => {
    if (escape === undefined) throw new Error("string ends within an escape");
    if (escape.length === 3 && escape[0] === "x") return String.fromCharCode(parseInt(escape.slice(1), 16));
    if (/^[0-7]/.test(escape)) return String.fromCharCode(parseInt(escape, 8) & 0xff);
    const simple = SIMPLE_ESCAPES[escape];
    if (simple === undefined) throw new Error("string with an unknown escape");
    return simple;
  });
}

/** The argument of opcode UNICODE: Python's `raw-unicode-escape`. */
export function parseRawUnicode(text: string): string {
  return text.replace(/\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/g, (_, short: string | undefined, long: string) =>
    String.fromCodePoint(parseInt(short ?? long, 16)),
  );
}
