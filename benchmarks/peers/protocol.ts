import type { HostArray } from "@md/tensor";

// What the benchmark and a peer say to each other over a pipe. A message is one line, `verb key=value …` with values
// percent-encoded, then as many bytes as its field `bytes` says (none by default): tensors, one after the other, as the
// field `tensors` lists them (`f32:4000x36,i32:5`). The peer begins:
//
//   hello    name version isa threads ops          ops it knows, joined by commas
//   prepare  op, integers of the op, tensors   →   ready tensors [variant]   its result, and the way it found fastest
//   time     iterations                        →   took ms                   of all iterations together
//   release                                    →   released                  frees what `prepare` made
//
// or answers `failed message`. It leaves when its input ends.

/** Numbers on their way between processes. */
export interface HostTensor {
  shape: readonly number[];
  data: HostArray;
}

export interface Message {
  verb: string;
  fields: Readonly<Record<string, string>>;
  payload: Uint8Array;
}

const arrays = { f32: Float32Array, f64: Float64Array, i32: Int32Array, i64: BigInt64Array, u8: Uint8Array } as const;
type WireType = keyof typeof arrays;

/** What breaks the protocol; names the peer's words. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** The pieces of one message, to be written in order. */
export function encode(
  verb: string,
  fields: Readonly<Record<string, string | number>>,
  tensors: readonly HostTensor[] = [],
): Uint8Array[] {
  const parts = tensors.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  const bytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
  const all = tensors.length > 0 ? { ...fields, tensors: tensors.map(describe).join(","), bytes } : fields;
  const words = Object.entries(all).map(([key, value]) => `${key}=${encodeURIComponent(value).replaceAll("%2C", ",")}`);
  return [new TextEncoder().encode([verb, ...words].join(" ") + "\n"), ...parts];
}

function describe({ shape, data }: HostTensor): string {
  const [type] = Object.entries(arrays).find(([, array]) => data instanceof array)!;
  return `${type}:${shape.join("x")}`;
}

/** The tensors of a message; ProtocolError where bytes and description differ. */
export function tensorsOf({ fields, payload }: Message): HostTensor[] {
  if (!fields.tensors) return [];
  let offset = 0;
  const tensors = fields.tensors.split(",").map((description) => {
    const [type, extents] = description.split(":");
    const shape = extents ? extents.split("x").map(Number) : [];
    if (!(type in arrays) || !shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0))
      throw new ProtocolError(`found tensor "${description}", expected TYPE:EXTENTxEXTENT`);
    const array = arrays[type as WireType];
    const length = shape.reduce((product, extent) => product * extent, 1);
    const end = offset + length * array.BYTES_PER_ELEMENT;
    if (end > payload.byteLength)
      throw new ProtocolError(`found ${payload.byteLength} bytes, expected ${end} for ${fields.tensors}`);
    const data = new array(payload.slice(offset, end).buffer);
    offset = end;
    return { shape, data };
  });
  if (offset !== payload.byteLength)
    throw new ProtocolError(`found ${payload.byteLength} bytes, expected ${offset} for ${fields.tensors}`);
  return tensors;
}

/** Cuts a stream of bytes, pushed in pieces of any size, into messages. */
export class MessageReader {
  private line: number[] = [];
  private open: { message: Message; filled: number } | null = null;

  push(chunk: Uint8Array): Message[] {
    const done: Message[] = [];
    let at = 0;
    while (at < chunk.byteLength) {
      if (this.open === null) {
        const end = chunk.indexOf(0x0a, at);
        const stop = end < 0 ? chunk.byteLength : end;
        for (; at < stop; at++) this.line.push(chunk[at]);
        if (end < 0) break;
        at = end + 1;
        this.open = { message: parseLine(new TextDecoder().decode(Uint8Array.from(this.line))), filled: 0 };
        this.line = [];
      }
      const { message, filled } = this.open;
      const taken = chunk.subarray(at, at + message.payload.byteLength - filled);
      message.payload.set(taken, filled);
      at += taken.byteLength;
      this.open.filled += taken.byteLength;
      if (this.open.filled === message.payload.byteLength) {
        done.push(message);
        this.open = null;
      }
    }
    return done;
  }
}

function parseLine(line: string): Message {
  const [verb, ...words] = line.split(" ");
  const fields: Record<string, string> = {};
  for (const word of words) {
    const at = word.indexOf("=");
    if (at <= 0) throw new ProtocolError(`found "${line.slice(0, 200)}", expected a verb and key=value pairs`);
    fields[word.slice(0, at)] = decodeURIComponent(word.slice(at + 1));
  }
  const bytes = Number(fields.bytes ?? 0);
  if (!/^[a-z]+$/.test(verb) || !Number.isSafeInteger(bytes) || bytes < 0)
    throw new ProtocolError(`found "${line.slice(0, 200)}", expected a verb and key=value pairs`);
  return { verb, fields, payload: new Uint8Array(bytes) };
}
