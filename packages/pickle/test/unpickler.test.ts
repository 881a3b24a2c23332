import { expect, test } from "vitest";
import {
  NdArray,
  pickle,
  PickleError,
  type PickleObject,
  type PickleValue,
  pyArray,
  pyFloat,
  pyInstance,
  pyTuple,
  unpickle,
} from "../src/index.js";
import { PYTHON_PICKLES } from "./support/python-pickles.js";

const isRecord = (name: string): boolean => /^(rlbench|amsolver)(\.[A-Za-z_]\w*)+$/.test(name);

function array(value: PickleValue | undefined): { type: string; shape: number[]; data: unknown[] } {
  expect(value).toBeInstanceOf(NdArray);
  const { type, shape, data } = value as NdArray;
  return { type, shape, data: Array.from(data as ArrayLike<PickleValue>) };
}

function bytes(...parts: (string | number | Uint8Array)[]): Uint8Array {
  return Buffer.concat(
    parts.map((part) =>
      typeof part === "string" ? Buffer.from(part, "latin1") : typeof part === "number" ? Buffer.of(part) : part,
    ),
  );
}

function failure(input: Uint8Array, limits = {}): PickleError {
  try {
    unpickle(input, "demo.pkl", { isRecord, ...limits });
  } catch (error) {
    expect(error).toBeInstanceOf(PickleError);
    return error as PickleError;
  }
  throw new Error("the pickle was accepted");
}

test.for([0, 1, 2, 3, 4, 5])("reads what Python wrote with protocol %i", (protocol) => {
  const value = unpickle(Buffer.from(PYTHON_PICKLES[protocol], "base64"), "python.pkl", { isRecord }) as Map<
    string,
    PickleValue
  >;
  const at = (key: string): PickleValue => value.get(key)!;
  expect(at("ints")).toEqual([
    0,
    1,
    -1,
    255,
    256,
    -129,
    65536,
    -(2 ** 31),
    2 ** 31,
    -(2 ** 31) - 1,
    2 ** 40,
    -(2 ** 40),
    2 ** 52,
  ]);
  expect(at("big")).toEqual([2n ** 63n, -(2n ** 70n)]);
  expect(at("floats")).toEqual([0.1, -2.5e300, Infinity]);
  expect(at("text")).toBe("Grüße ☃ 'q'\n");
  expect([...(at("bytes") as Uint8Array)]).toEqual([0, 255, 97, 98]);
  expect(at("bool")).toEqual([true, false]);
  expect(at("empty")).toEqual([[], [], new Map(), new Set()]);
  expect(at("set")).toEqual(new Set([7]));
  expect(at("tuples")).toEqual([[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]);
  expect(array(at("f4"))).toEqual({ type: "f4", shape: [2, 3], data: [1, 2, 3, 4, 5, 6] });
  expect(array(at("fortran"))).toEqual({ type: "i4", shape: [2, 3], data: [0, 1, 2, 3, 4, 5] });
  expect(array(at("big_endian"))).toEqual({ type: "i2", shape: [3], data: [1, -2, 3] });
  expect(array(at("half"))).toEqual({ type: "f2", shape: [4], data: [1.5, -0.25, 65504, 2 ** -24] });
  expect(array(at("i8"))).toEqual({ type: "i8", shape: [2], data: [-5n, 2n ** 60n] });
  expect(array(at("mask"))).toEqual({ type: "b1", shape: [2], data: [1, 0] });
  expect(at("scalar")).toBe(2.5);
  expect(at("int_scalar")).toBe(-3);
  expect(array(at("zero_d"))).toEqual({ type: "f8", shape: [], data: [4] });
  expect(array(at("empty_array"))).toEqual({ type: "f8", shape: [0, 3], data: [] });
  expect(array(at("objects"))).toEqual({ type: "O", shape: [], data: [new Map([["a", 1]])] });
  const demo = at("demo") as PickleObject;
  expect(demo.className).toBe("amsolver.demo.Demo");
  const [first, second] = demo.state.get("_observations") as PickleObject[];
  expect(first).toBe(second);
  expect(first.className).toBe("rlbench.backend.observation.Observation");
  expect(array(first.state.get("pose")).data).toEqual([1.5, -2.25, 3e-7]);
});

test("reads back what the pickler writes", () => {
  const written = pyInstance("rlbench.demo", "Demo", {
    a: pyArray(Float64Array.of(1, 2, 3, 4), [2, 2]),
    b: [null, true, false, 5, -6, "ü"],
    c: pyTuple([pyFloat(1), pyFloat(0.5)]),
    d: new Map([["k", "v"]]),
  });
  const { className, state } = unpickle(pickle(written), "own.pkl", { isRecord }) as PickleObject;
  expect(className).toBe("rlbench.demo.Demo");
  expect(array(state.get("a"))).toEqual({ type: "f8", shape: [2, 2], data: [1, 2, 3, 4] });
  expect(state.get("b")).toEqual([null, true, false, 5, -6, "ü"]);
  expect(state.get("c")).toEqual([1, 0.5]);
  expect(state.get("d")).toEqual(new Map([["k", "v"]]));
});

test.for([0, 1, 2, 3, 4, 5])("refuses protocol %i truncated at any byte", (protocol) => {
  const whole = Buffer.from(PYTHON_PICKLES[protocol], "base64");
  for (let length = 0; length < whole.length; length++) {
    const error = failure(whole.subarray(0, length));
    expect(error.message).toContain("demo.pkl");
    expect(error.offset).toBeLessThanOrEqual(length);
  }
});

test("survives every single corrupted byte", () => {
  for (const encoded of PYTHON_PICKLES) {
    const whole = Buffer.from(encoded, "base64");
    for (let at = 0; at < whole.length; at++) {
      const corrupt = Buffer.from(whole);
      corrupt[at] ^= 1 + (at % 255);
      try {
        unpickle(corrupt, "corrupt.pkl");
      } catch (error) {
        expect(error).toBeInstanceOf(PickleError);
      }
    }
  }
});

test.for([
  ["cos\nsystem\n(S'true'\ntR.", "os.system"],
  ["cposix\nsystem\n(S'true'\ntR.", "posix.system"],
  ["c__builtin__\neval\n(S'1'\ntR.", "__builtin__.eval"],
  ["cbuiltins\ngetattr\n(NS'x'\ntR.", "builtins.getattr"],
  ["(S'true'\nios\nsystem\n.", "os.system"],
  ["cnumpy.testing\nrunstring\n)R.", "numpy.testing.runstring"],
  ["crlbench\n__import__('os')\n)R.", "rlbench.__import__"],
])("refuses the global of %j by name", ([input, name]) => {
  const error = failure(bytes(input));
  expect(error.message).toContain(name);
  expect(error.message).toContain("whitelist");
});

test("names opcode and offset", () => {
  const error = failure(bytes(0x80, 4, "K", 1, "cos\nsystem\n."));
  expect(error).toMatchObject({ opcode: "GLOBAL", offset: 4, source: "demo.pkl", name: "PickleError" });
  expect(error.message).toBe('[demo.pkl] global "os.system" is not on the whitelist (opcode GLOBAL at byte 4)');
});

test.for<[string, Uint8Array]>([
  ["bytes of 2^63", bytes(0x8e, Buffer.alloc(7, 0xff), 0x7f, "x.")],
  ["text of 4 GiB", bytes("X", Buffer.alloc(4, 0xff), "x.")],
  ["string of negative length", bytes("T", Buffer.alloc(4, 0xff), "x.")],
  ["integer of 2 GiB", bytes(0x8b, Buffer.of(0xff, 0xff, 0xff, 0x7f), "x.")],
  ["integer of negative length", bytes(0x8b, Buffer.of(0, 0, 0, 0x80), "x.")],
  ["decimal of many digits", bytes("L", "9".repeat(5000), "L\n.")],
  ["frame beyond the file", bytes(0x80, 4, 0x95, Buffer.alloc(8, 0x7f), "N.")],
  ["protocol 6", bytes(0x80, 6, "N.")],
  ["unknown opcode", bytes(0xff, ".")],
  ["extension registry", bytes(0x82, 1, ".")],
  ["persistent id", bytes("Pabc\n.")],
  ["binary persistent id", bytes("NQ.")],
  ["out-of-band buffer", bytes(0x97, ".")],
  ["empty stack", bytes(".")],
  ["values left over", bytes("NN.")],
  ["trailing bytes", bytes("N.N")],
  ["no mark", bytes("e.")],
  ["unknown memo", bytes("h", 7, ".")],
  ["negative memo", bytes("Np-1\n.")],
  ["append to a dict", bytes("}Na.")],
  ["items of a list", bytes("]NNs.")],
  ["odd dict", bytes("(Nd.")],
  ["state of a list", bytes("]}b.")],
  ["call of a string", bytes("U", 1, "x)R.")],
  ["invalid UTF-8", bytes("X", Buffer.of(1, 0, 0, 0), 0xff, ".")],
  ["unquoted string", bytes("Sabc\n.")],
  ["no number", bytes("I1e5\n.")],
  ["no float", bytes("F0x10\n.")],
  ["code point beyond Unicode", bytes("V\\U00110000\n.")],
  ["endless line", bytes("I", Buffer.alloc(3 * 2 ** 20, "1"))],
])("refuses %s", ([, input]) => {
  failure(input);
});

test("bounds depth, memo, allocation and file size", () => {
  expect(failure(bytes("(".repeat(10_000))).message).toContain("nested deeper than 256");
  expect(failure(bytes("]", 0x94, 0x94, 0x94, "."), { maxMemo: 2 }).message).toContain("memo of more than 2");
  expect(failure(bytes("(", "]".repeat(10_000), "t."), { maxAllocation: 100_000 }).message).toContain("100000 bytes");
  expect(failure(bytes("]", "0]".repeat(10), "."), { maxBytes: 10 }).message).toContain("more than the 10 bytes");
});

test("a short pickle cannot ask for much memory", () => {
  const text = "x".repeat(60_000);
  const head = bytes("c_codecs\nencode\nq\x000X", Buffer.of(0x60, 0xea, 0, 0), text, "q\x010");
  const call = bytes("h\x00(h\x01U\x06latin1tR0");
  const repeated = bytes(head, ...Array.from({ length: 2000 }, () => call), "N.");
  expect(unpickle(repeated, "demo.pkl")).toBeNull();
  expect(failure(repeated, { maxAllocation: 2 ** 26 }).message).toContain("bytes allowed");
});

function arrayPickle(shape: string, dtype: string, data: Uint8Array): Uint8Array {
  return bytes(
    "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(",
    shape,
    `tcnumpy\ndtype\n(U`,
    dtype.length,
    dtype,
    "K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U",
    data.length,
    data,
    "tb.",
  );
}

test("checks arrays against their bytes", () => {
  expect(array(unpickle(arrayPickle("K\x02", "f4", new Uint8Array(8)), "a"))).toEqual({
    type: "f4",
    shape: [2],
    data: [0, 0],
  });
  expect(failure(arrayPickle("K\x03", "f4", new Uint8Array(8))).message).toContain("needs 12 bytes, found 8");
  expect(failure(arrayPickle("J\xff\xff\xff\xff", "f4", new Uint8Array(8))).message).toContain("no tuple of sizes");
  failure(arrayPickle("K\x00".repeat(33), "f4", new Uint8Array(0)));
  failure(arrayPickle("\x8a\x07\xff\xff\xff\xff\xff\xff\x0f".repeat(31) + "K\x00", "f4", new Uint8Array(8)));
  for (const dtype of ["V8", "M8", "U4", "x", "f3", "f16"])
    expect(failure(arrayPickle("K\x02", dtype, new Uint8Array(8))).message).toContain("dtype");
});

test("containers that hold themselves do no harm", () => {
  const list = unpickle(bytes("]q\x00h\x00a."), "self.pkl") as PickleValue[];
  expect(list[0]).toBe(list);
});
