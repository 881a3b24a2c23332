import { float16ToFloat32 } from "./half.js";
import {
  type AllocationBudget,
  describeValue,
  NdArray,
  NumpyDtype,
  type NumpyData,
  type NumpyType,
  type PickleValue,
} from "./values.js";

type NumericType = Exclude<NumpyType, "O">;

const ITEM_BYTES: Record<NumericType, number> = {
  b1: 1,
  i1: 1,
  i2: 2,
  i4: 4,
  i8: 8,
  u1: 1,
  u2: 2,
  u4: 4,
  u8: 8,
  f2: 2,
  f4: 4,
  f8: 8,
};

const MAX_RANK = 32;

/** `numpy.dtype(code, align, copy)`. Structured, string and date types are refused. */
export function makeDtype(args: PickleValue[]): NumpyDtype {
  const code = args[0];
  if (typeof code !== "string") throw new Error(`numpy.dtype of ${describeValue(code ?? null)}, expected a type code`);
  const match = /^([<>|=]?)(O8?|[a-zA-Z]\d+)$/.exec(code);
  const type = match?.[2].startsWith("O") ? "O" : match?.[2];
  if (type === undefined || !(type === "O" || type in ITEM_BYTES))
    throw new Error(`unsupported numpy dtype "${code.slice(0, 40)}"`);
  const dtype = new NumpyDtype(type as NumpyType);
  dtype.bigEndian = match?.[1] === ">";
  return dtype;
}

/** Applies a dtype's pickled state `(version, byte order, subdtype, names, fields, ...)`. */
export function setDtypeState(dtype: NumpyDtype, state: PickleValue): void {
  if (!Array.isArray(state) || state.length < 5) throw new Error("numpy dtype state is not a tuple of at least 5");
  const [, order, subdtype, names, fields] = state;
  if (subdtype !== null || names !== null || fields !== null)
    throw new Error("structured numpy dtypes are not supported");
  if (order !== "<" && order !== ">" && order !== "|" && order !== "=") throw new Error("unknown numpy byte order");
  dtype.bigEndian = order === ">";
}

/** Applies an array's pickled state `(version, shape, dtype, isFortran, data)`. */
export function setArrayState(array: NdArray, state: PickleValue, budget: AllocationBudget): void {
  if (!Array.isArray(state) || state.length !== 5) throw new Error("numpy array state is not a tuple of 5");
  fillArray(array, state[4], state[2], state[1], state[3] === true, budget);
}

/** `numpy.core.numeric._frombuffer(buffer, dtype, shape, order)` of protocol 5. */
export function arrayFromBuffer(args: PickleValue[], budget: AllocationBudget): NdArray {
  if (args.length !== 4) throw new Error(`_frombuffer takes 4 arguments, got ${args.length}`);
  const array = new NdArray();
  fillArray(array, args[0], args[1], args[2], args[3] === "F", budget);
  return array;
}

/** `numpy.core.multiarray.scalar(dtype, bytes)`: one element as a JavaScript value. */
export function makeScalar(args: PickleValue[], budget: AllocationBudget): number | bigint | boolean {
  const array = new NdArray();
  fillArray(array, args[1] ?? null, args[0] ?? null, [], false, budget);
  const value = array.data[0];
  if (typeof value === "number") return array.type === "b1" ? value !== 0 : value;
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  throw new Error(`numpy scalar of dtype ${array.type} is not supported`);
}

/** Bytes of a pickled buffer; protocol 2 and older store them as a Latin-1 string. */
export function toBytes(value: PickleValue, budget: AllocationBudget): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (typeof value !== "string") throw new Error(`expected bytes, found ${describeValue(value)}`);
  budget.take(value.length);
  const bytes = new Uint8Array(value.length);
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code > 0xff) throw new Error("string holds characters that are no bytes");
    bytes[i] = code;
  }
  return bytes;
}

function fillArray(
  array: NdArray,
  raw: PickleValue,
  dtype: PickleValue,
  shape: PickleValue,
  fortran: boolean,
  budget: AllocationBudget,
): void {
  if (!(dtype instanceof NumpyDtype)) throw new Error(`array dtype is ${describeValue(dtype)}`);
  const dims = checkShape(shape);
  const count = dims.reduce((product, dim) => product * dim, 1);
  array.type = dtype.type;
  array.shape = dims;
  if (dtype.type === "O") {
    if (!Array.isArray(raw)) throw new Error("object array without a list of elements");
    if (raw.length !== count) throw new Error(`object array of shape [${dims.join(", ")}] has ${raw.length} elements`);
    budget.take(8 * count);
    // A copy: the pickle may go on to append to the list.
    array.data = fortran ? toRowMajor(raw, dims, new Array<PickleValue>(count)) : [...raw];
    return;
  }
  const bytes = toBytes(raw, budget);
  const expected = count * ITEM_BYTES[dtype.type];
  if (!(bytes.length === expected))
    throw new Error(`array ${dtype.type} [${dims.join(", ")}] needs ${expected} bytes, found ${bytes.length}`);
  budget.take(2 * bytes.length);
  const data = decodeElements(bytes, dtype.type, dtype.bigEndian);
  array.data = fortran && dims.length > 1 ? toRowMajor(data, dims, data.slice()) : data;
}

function checkShape(shape: PickleValue): number[] {
  if (!Array.isArray(shape) || shape.length > MAX_RANK)
    throw new Error(`array shape is no tuple of at most ${MAX_RANK}`);
  return shape.map((dim) => {
    if (typeof dim !== "number" || !Number.isSafeInteger(dim) || dim < 0)
      throw new Error("array shape is no tuple of sizes");
    return dim;
  });
}

function decodeElements(bytes: Uint8Array, type: NumericType, bigEndian: boolean): Exclude<NumpyData, PickleValue[]> {
  const copy = new Uint8Array(bytes);
  const width = ITEM_BYTES[type];
  if (bigEndian) for (let i = 0; i < copy.length; i += width) copy.subarray(i, i + width).reverse();
  const { buffer } = copy;
  switch (type) {
    case "b1":
    case "u1":
      return copy;
    case "i1":
      return new Int8Array(buffer);
    case "i2":
      return new Int16Array(buffer);
    case "i4":
      return new Int32Array(buffer);
    case "i8":
      return new BigInt64Array(buffer);
    case "u2":
      return new Uint16Array(buffer);
    case "u4":
      return new Uint32Array(buffer);
    case "u8":
      return new BigUint64Array(buffer);
    case "f2":
      return float16ToFloat32(new Uint16Array(buffer));
    case "f4":
      return new Float32Array(buffer);
    case "f8":
      return new Float64Array(buffer);
  }
}

/** Copies column-major `source` into `target` in row-major order. */
function toRowMajor<T extends NumpyData>(source: T, shape: number[], target: T): T {
  const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((product, dim) => product * dim, 1));
  const index = shape.map(() => 0);
  for (let to = 0; to < source.length; to++) {
    target[to] = source[index.reduce((from, i, axis) => from + i * strides[axis], 0)];
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis] === shape[axis]; axis--) index[axis] = 0;
  }
  return target;
}
