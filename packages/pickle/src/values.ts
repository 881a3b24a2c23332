/** Element type of a numpy array, in numpy's own letters; `O` holds Python objects. */
export type NumpyType = "b1" | "i1" | "i2" | "i4" | "i8" | "u1" | "u2" | "u4" | "u8" | "f2" | "f4" | "f8" | "O";

/** Storage of an array's elements; half precision is widened to float32, booleans are bytes. */
export type NumpyData =
  | Uint8Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Float32Array
  | Float64Array
  | PickleValue[];

/** A numpy array in row-major order and native byte order. */
export class NdArray {
  type: NumpyType = "u1";
  shape: number[] = [0];
  data: NumpyData = new Uint8Array(0);
}

/** A numpy dtype while a pickle is being read. */
export class NumpyDtype {
  bigEndian = false;
  constructor(readonly type: NumpyType) {}
}

/** An instance of a whitelisted Python class: an inert record of its class name and attributes. */
export class PickleObject {
  readonly state = new Map<string, PickleValue>();
  constructor(readonly className: string) {}
}

/** Element types of PyTorch storages that are read. */
export type TorchStorageType = "f16" | "bf16" | "f32" | "f64" | "i32" | "i64" | "u8" | "bool";

/** A block of elements that tensors of a PyTorch file are views of; its bytes lie outside the pickle. */
export class TorchStorage {
  constructor(
    readonly key: string,
    readonly type: TorchStorageType,
    /** Number of elements. */
    readonly length: number,
  ) {}
}

/** A tensor of a PyTorch file: a view of its storage. Offset and strides are in elements and are not checked yet. */
export class TorchTensor {
  constructor(
    readonly storage: TorchStorage,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
}

/** A whitelisted class or function that a pickle names. */
export class PickleGlobal {
  constructor(
    readonly name: string,
    /** What calling it yields; a harmless reimplementation, absent where a call makes no sense. */
    readonly call?: (args: PickleValue[], budget: AllocationBudget) => PickleValue,
    /** Whether its instances are {@link PickleObject}s. */
    readonly isRecord = false,
  ) {}
}

/**
 * What a pickle can hold. Tuples and lists are arrays, dicts are Maps, integers beyond 2^53 are
 * bigints, `bytes` and `bytearray` are Uint8Arrays.
 */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | Set<PickleValue>
  | NdArray
  | NumpyDtype
  | PickleObject
  | PickleGlobal
  | TorchStorage
  | TorchTensor;

/** Counts the bytes that reading a pickle asks for, so that a small file cannot fill the memory. */
export class AllocationBudget {
  private used = 0;
  constructor(private readonly limit: number) {}

  /** Throws when `bytes` more would pass the limit. */
  take(bytes: number): void {
    this.used += bytes;
    if (!(this.used <= this.limit)) throw new Error(`needs more than the ${this.limit} bytes allowed for its values`);
  }
}

/** Short description of a value for error messages. */
export function describeValue(value: PickleValue): string {
  if (value === null) return "None";
  if (value instanceof PickleObject) return `an instance of ${value.className}`;
  if (value instanceof PickleGlobal) return value.name;
  if (value instanceof NdArray) return `a numpy array ${value.type} [${value.shape.join(", ")}]`;
  if (value instanceof NumpyDtype) return `numpy dtype ${value.type}`;
  if (value instanceof TorchStorage) return `a torch storage ${value.type} [${value.length}]`;
  if (value instanceof TorchTensor) return `a torch tensor ${value.storage.type} [${value.shape.join(", ")}]`;
  if (value instanceof Uint8Array) return "bytes";
  if (value instanceof Map) return "a dict";
  if (value instanceof Set) return "a set";
  if (Array.isArray(value)) return "a list or tuple";
  return `a ${typeof value}`;
}
