import type { HostTensor } from "./protocol.js";

/** A node of a graph: inputs and outputs by name, integers and numbers as attributes. */
export interface OnnxNode {
  op: string;
  inputs: readonly string[];
  outputs: readonly string[];
  /** Integers, lists of integers, or { float }. */
  attributes?: Readonly<Record<string, number | readonly number[] | { float: number }>>;
  /** Default ONNX's own. */
  domain?: string;
}
export interface OnnxGraph {
  nodes: readonly OnnxNode[];
  /** f32, with their shapes; so are the outputs. */
  inputs: Readonly<Record<string, readonly number[]>>;
  outputs: Readonly<Record<string, { shape: readonly number[] }>>;
  /** Constants of the graph. */
  constants?: Readonly<Record<string, HostTensor>>;
}

const elementTypes = { f32: 1, i64: 7 } as const;

/** The graph as an ONNX model (protocol buffers; field numbers are those of onnx.proto3). */
export function onnxModel({ nodes, inputs, outputs, constants = {} }: OnnxGraph, opset = 23): Uint8Array {
  const graph = message(
    ...nodes.map((node) => field(1, node_(node))),
    field(2, text("graph")),
    ...Object.entries(constants).map(([name, value]) => field(5, tensor(name, value))),
    ...Object.entries(inputs).map(([name, shape]) => field(11, valueInfo(name, shape))),
    ...Object.entries(outputs).map(([name, { shape }]) => field(12, valueInfo(name, shape))),
  );
  const opsets = [
    ["", opset],
    ["com.microsoft", 1],
  ] as const;
  return message(
    varintField(1, 10),
    field(7, graph),
    ...opsets.map(([domain, version]) => field(8, message(field(1, text(domain)), varintField(2, version)))),
  );
}

function node_({ op, inputs, outputs, attributes = {}, domain = "" }: OnnxNode): Uint8Array {
  return message(
    ...inputs.map((name) => field(1, text(name))),
    ...outputs.map((name) => field(2, text(name))),
    field(4, text(op)),
    ...Object.entries(attributes).map(([name, value]) => field(5, attribute(name, value))),
    field(7, text(domain)),
  );
}

function attribute(name: string, value: number | readonly number[] | { float: number }): Uint8Array {
  const named = field(1, text(name));
  if (typeof value === "number") return message(named, varintField(3, value), varintField(20, 2));
  if ("float" in value) {
    const bytes = new Uint8Array(Float32Array.of(value.float).buffer);
    return message(named, tag(2, 5), bytes, varintField(20, 1));
  }
  return message(named, ...value.map((item) => varintField(8, item)), varintField(20, 7));
}

function tensor(name: string, { shape, data }: HostTensor): Uint8Array {
  return message(
    ...shape.map((extent) => varintField(1, extent)),
    varintField(2, data instanceof BigInt64Array ? elementTypes.i64 : elementTypes.f32),
    field(8, text(name)),
    field(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
  );
}

function valueInfo(name: string, shape: readonly number[]): Uint8Array {
  const dims = message(...shape.map((extent) => field(1, varintField(1, extent))));
  const tensorType = message(varintField(1, elementTypes.f32), field(2, dims));
  return message(field(1, text(name)), field(2, field(1, tensorType)));
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const message = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const tag = (number: number, wireType: number): Uint8Array => varint((number << 3) | wireType);
const field = (number: number, bytes: Uint8Array): Uint8Array => message(tag(number, 2), varint(bytes.length), bytes);
const varintField = (number: number, value: number): Uint8Array => message(tag(number, 0), varint(value));

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = BigInt.asUintN(64, BigInt(value)); ; rest >>= 7n) {
    const low = Number(rest & 0x7fn);
    if (rest < 0x80n) return Uint8Array.from([...bytes, low]);
    bytes.push(low | 0x80);
  }
}
