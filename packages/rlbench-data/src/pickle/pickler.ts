/**
 * A value for {@link pickle}. JavaScript cannot tell 1.0 from 1: whole numbers are written as Python
 * ints, floats need {@link pyFloat}; arrays are written as lists, tuples need {@link pyTuple}.
 */
export type Picklable =
  | null
  | boolean
  | number
  | string
  | readonly Picklable[]
  | ReadonlyMap<string, Picklable>
  | PyFloat
  | PyTuple
  | PyArray
  | PyInstance;

interface PyFloat {
  kind: "float";
  value: number;
}

interface PyTuple {
  kind: "tuple";
  items: readonly Picklable[];
}

interface PyArray {
  kind: "array";
  data: Float64Array;
  shape: readonly number[];
}

interface PyInstance {
  kind: "instance";
  module: string;
  name: string;
  state: ReadonlyMap<string, Picklable>;
}

/** A Python float. */
export function pyFloat(value: number): PyFloat {
  return { kind: "float", value };
}

/** A Python tuple. */
export function pyTuple(items: readonly Picklable[]): PyTuple {
  return { kind: "tuple", items };
}

/** A float64 numpy array in row-major order. */
export function pyArray(data: Float64Array, shape: readonly number[]): PyArray {
  return { kind: "array", data, shape };
}

/** An instance of `module.name` with the given attributes. */
export function pyInstance(module: string, name: string, attributes: Record<string, Picklable>): PyInstance {
  return { kind: "instance", module, name, state: new Map(Object.entries(attributes)) };
}

/** Writes a pickle of protocol 3, without memo. */
export function pickle(value: Picklable): Uint8Array {
  const writer = new PickleWriter();
  writer.bytes(0x80, 3);
  writer.value(value);
  writer.ascii(".");
  return writer.finish();
}

class PickleWriter {
  private readonly chunks: Uint8Array[] = [];

  finish(): Uint8Array {
    return Buffer.concat(this.chunks);
  }

  bytes(...bytes: number[]): void {
    this.chunks.push(Uint8Array.from(bytes));
  }

  ascii(text: string): void {
    this.chunks.push(Buffer.from(text, "latin1"));
  }

  value(value: Picklable): void {
    if (value === null) return this.ascii("N");
    if (typeof value === "boolean") return this.bytes(value ? 0x88 : 0x89);
    if (typeof value === "number") return this.integer(value);
    if (typeof value === "string") return this.text(value);
    if (value instanceof Map) return this.dict(value);
    if (isList(value)) return this.list(value);
    return this.tagged(value as PyFloat | PyTuple | PyArray | PyInstance);
  }

  private tagged(value: PyFloat | PyTuple | PyArray | PyInstance): void {
    switch (value.kind) {
      case "float": {
        const encoded = Buffer.alloc(9, "G", "latin1");
        encoded.writeDoubleBE(value.value, 1);
        this.chunks.push(encoded);
        return;
      }
      case "tuple":
        return this.tuple(value.items);
      case "array":
        return this.array(value);
      case "instance":
        this.global(value.module, value.name);
        this.ascii(")\x81");
        this.dict(value.state);
        return this.ascii("b");
    }
  }

  private integer(value: number): void {
    if (!Number.isInteger(value) || Math.abs(value) > 0x7fffffff)
      throw new RangeError(`pickle: ${value} is no 32-bit integer; wrap floats in pyFloat`);
    const encoded = Buffer.alloc(5, "J", "latin1");
    encoded.writeInt32LE(value, 1);
    this.chunks.push(encoded);
  }

  private text(value: string): void {
    const utf8 = Buffer.from(value, "utf8");
    this.withLength("X", utf8);
  }

  private withLength(opcode: string, bytes: Uint8Array): void {
    const head = Buffer.alloc(5, opcode, "latin1");
    head.writeUInt32LE(bytes.length, 1);
    this.chunks.push(head, bytes);
  }

  private list(items: readonly Picklable[]): void {
    this.ascii("](");
    for (const item of items) this.value(item);
    this.ascii("e");
  }

  private tuple(items: readonly Picklable[]): void {
    this.ascii("(");
    for (const item of items) this.value(item);
    this.ascii("t");
  }

  private dict(items: ReadonlyMap<string, Picklable>): void {
    this.ascii("}(");
    for (const [key, item] of items) {
      this.text(key);
      this.value(item);
    }
    this.ascii("u");
  }

  private global(module: string, name: string): void {
    this.ascii(`c${module}\n${name}\n`);
  }

  private array({ data, shape }: PyArray): void {
    this.global("numpy.core.multiarray", "_reconstruct");
    this.ascii("(");
    this.global("numpy", "ndarray");
    this.tuple([0]);
    this.ascii("C\x01btR(");
    this.integer(1);
    this.tuple(shape);
    this.global("numpy", "dtype");
    this.tuple(["f8", false, true]);
    this.ascii("R");
    this.tuple([3, "<", null, null, null, -1, -1, 0]);
    this.ascii("b");
    this.value(false);
    this.withLength("B", new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    this.ascii("tb");
  }
}

function isList(value: Picklable): value is readonly Picklable[] {
  return Array.isArray(value);
}
