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
  | PyInstance
  | PyGlobal
  | PyCall
  | PyPersistent;

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

interface PyGlobal {
  kind: "global";
  module: string;
  name: string;
}

interface PyCall {
  kind: "call";
  callee: PyGlobal;
  args: readonly Picklable[];
}

interface PyPersistent {
  kind: "persistent";
  id: Picklable;
}

type Tagged = PyFloat | PyTuple | PyArray | PyInstance | PyGlobal | PyCall | PyPersistent;

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

/** A class or function by its name. */
export function pyGlobal(module: string, name: string): PyGlobal {
  return { kind: "global", module, name };
}

/** What a call gives when the pickle is read. */
export function pyCall(callee: PyGlobal, ...args: readonly Picklable[]): PyCall {
  return { kind: "call", callee, args };
}

/** An object outside the pickle, by what its reader knows it by. */
export function pyPersistent(id: Picklable): PyPersistent {
  return { kind: "persistent", id };
}

/** Writes a pickle without memo. Protocol 2 has no arrays. Default protocol 3. */
export function pickle(value: Picklable, protocol: 2 | 3 = 3): Uint8Array {
  const writer = new PickleWriter(protocol);
  writer.bytes(0x80, protocol);
  writer.value(value);
  writer.ascii(".");
  return writer.finish();
}

class PickleWriter {
  private readonly chunks: Uint8Array[] = [];

  constructor(private readonly protocol: 2 | 3) {}

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
    return this.tagged(value as Tagged);
  }

  private tagged(value: Tagged): void {
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
      case "global":
        return this.global(value.module, value.name);
      case "call":
        this.global(value.callee.module, value.callee.name);
        this.tuple(value.args);
        return this.ascii("R");
      case "persistent":
        this.value(value.id);
        return this.ascii("Q");
    }
  }

  private integer(value: number): void {
    if (!Number.isSafeInteger(value)) throw new RangeError(`pickle: ${value} is no integer; wrap floats in pyFloat`);
    if (Math.abs(value) <= 0x7fffffff) {
      const encoded = Buffer.alloc(5, "J", "latin1");
      encoded.writeInt32LE(value, 1);
      this.chunks.push(encoded);
    } else {
      const encoded = Buffer.from("\x8a\x08        ", "latin1");
      encoded.writeBigInt64LE(BigInt(value), 2);
      this.chunks.push(encoded);
    }
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
    if (this.protocol < 3) throw new RangeError(`pickle: protocol ${this.protocol} has no bytes to hold an array`);
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
