import { expect, test } from "vitest";
import {
  parseTorchCheckpoint,
  PickleError,
  TorchCheckpointError,
  unpickle,
  unpickleWithTensors,
} from "../src/index.js";
import { pickle, pyCall, pyGlobal, pyTuple } from "../src/index.js";

const global = (module: string, name: string): string => `c${module}\n${name}\n`;

/** Lists within lists, each twice in the next: 2^depth elements when they are written out. */
const doubling = (depth: number): Buffer =>
  Buffer.from(
    `]q\x00${Array.from({ length: depth }, (_, i) => `](h${String.fromCharCode(i)}h${String.fromCharCode(i)}eq${String.fromCharCode(i + 1)}`).join("")}`,
    "latin1",
  );

test("a device or protocol of lists that hold one another is not written out", () => {
  const head = Buffer.from("8002 8a0a6cfc9c46f9206aa850192e".replace(" ", ""), "hex");
  const protocol = Buffer.concat([head, Buffer.from([0x80, 2]), doubling(40), Buffer.from(".")]);
  expect(() => parseTorchCheckpoint(protocol, "model.pt")).toThrow(TorchCheckpointError);
  const device = Buffer.concat([
    Buffer.from(`\x80\x02${global("torch", "device")}(X\x03\0\0\0cpu`, "latin1"),
    doubling(40),
    Buffer.from("tR."),
  ]);
  expect(() =>
    parseTorchCheckpoint(
      Buffer.concat([head, Buffer.from("\x80\x02M\xe9\x03.\x80\x02}X\x0d\0\0\0little_endian\x88s.", "latin1"), device]),
      "model.pt",
    ),
  ).toThrow(TorchCheckpointError);
});

test("empty dicts and memo entries count at what they take", () => {
  const read = (opcodes: string): unknown =>
    unpickle(Buffer.from(opcodes, "latin1"), "small.pkl", { maxAllocation: 1e6 });
  for (const opcodes of ["}".repeat(5000), `N${"\x94".repeat(25_000)}`]) {
    expect(() => read(opcodes)).toThrow(PickleError);
    expect(() => read(opcodes)).toThrow(/more than the 1000000 bytes allowed/);
  }
});

test("shapes of many axes are refused", () => {
  const call = pyCall(pyGlobal("torch", "Size"), pyTuple(Array.from({ length: 100 }, () => 1)));
  expect(() => unpickleWithTensors(pickle(call), "size.pkl")).toThrow(/torch\.Size is no tuple of at most 64 integers/);
});
