import { arrayFromBuffer, makeDtype, makeScalar, toBytes } from "./numpy.js";
import { type AllocationBudget, describeValue, NdArray, PickleGlobal, type PickleValue } from "./values.js";

/** Of an object with its table or buffer, when it is empty. */
const OBJECT_BYTES = 256;
const ELEMENT_BYTES = 64;

const ndarray = new PickleGlobal("numpy.ndarray");
const object = new PickleGlobal("builtins.object");

/** Functions and classes that every pickle may name, by module and name. */
const WHITELIST = new Map<string, PickleGlobal>();

function allow(modules: string[], name: string, call?: PickleGlobal["call"]): void {
  for (const module of modules) WHITELIST.set(`${module}.${name}`, new PickleGlobal(`${module}.${name}`, call));
}

const BUILTINS = ["builtins", "__builtin__"];
allow(BUILTINS, "set", (args, budget) => new Set(elements(args, budget)));
allow(BUILTINS, "frozenset", (args, budget) => new Set(elements(args, budget)));
allow(BUILTINS, "list", (args, budget) => [...elements(args, budget)]);
allow(BUILTINS, "bytes", byteString);
allow(BUILTINS, "bytearray", byteString);
for (const module of BUILTINS) WHITELIST.set(`${module}.object`, object);
allow(["collections"], "OrderedDict", (args) => {
  if (args.length !== 0) throw new Error("OrderedDict with arguments is not supported");
  return new Map();
});
allow(["_codecs"], "encode", (args, budget) => {
  const encoding = args[1];
  if (encoding !== "latin1" && encoding !== "latin-1") throw new Error("_codecs.encode to anything but latin1");
  return toBytes(args[0], budget);
});
allow(["copyreg", "copy_reg"], "_reconstructor", (args, budget) => {
  const [type, base, state] = args;
  if (!(type instanceof PickleGlobal) || !type.isRecord || base !== object || state !== null)
    throw new Error("_reconstructor of anything but a plain recorded class");
  return instantiate(type, [], budget);
});

const NUMPY_CORE = ["numpy.core", "numpy._core"];
WHITELIST.set("numpy.ndarray", ndarray);
allow(["numpy"], "dtype", makeDtype);
allow(
  NUMPY_CORE.map((core) => `${core}.multiarray`),
  "_reconstruct",
  (args) => {
    if (args[0] !== ndarray) throw new Error("_reconstruct of anything but numpy.ndarray");
    return new NdArray();
  },
);
allow(
  NUMPY_CORE.map((core) => `${core}.multiarray`),
  "scalar",
  makeScalar,
);
allow(
  NUMPY_CORE.map((core) => `${core}.numeric`),
  "_frombuffer",
  arrayFromBuffer,
);

/** The global of that dotted name that every pickle may name. */
export const standardGlobal = (name: string): PickleGlobal | undefined => WHITELIST.get(name);

/** Calls a whitelisted global. */
export function instantiate(callee: PickleValue, args: PickleValue, budget: AllocationBudget): PickleValue {
  if (!(callee instanceof PickleGlobal) || callee.call === undefined)
    throw new Error(`${describeValue(callee)} cannot be called`);
  if (!Array.isArray(args)) throw new Error(`arguments of ${callee.name} are ${describeValue(args)}, expected a tuple`);
  budget.take(OBJECT_BYTES);
  return callee.call(args, budget);
}

function elements(args: PickleValue[], budget: AllocationBudget): PickleValue[] | Set<PickleValue> {
  const items = args[0] ?? [];
  if (args.length > 1 || !(Array.isArray(items) || items instanceof Set)) throw new Error("expected one sequence");
  budget.take(ELEMENT_BYTES * (Array.isArray(items) ? items.length : items.size));
  return items;
}

function byteString(args: PickleValue[], budget: AllocationBudget): Uint8Array {
  const [source = [], encoding] = args;
  if (typeof source === "string" && encoding !== "latin-1" && encoding !== "latin1")
    throw new Error("bytes of a string that is not latin-1");
  if (!Array.isArray(source)) return toBytes(source, budget);
  budget.take(source.length);
  return Uint8Array.from(source, (byte) => {
    if (typeof byte !== "number" || !(byte >= 0 && byte <= 0xff)) throw new Error("bytes of something that is no byte");
    return byte;
  });
}
