import { describe, expect, it } from "vitest";
import { encode, type HostTensor, MessageReader, ProtocolError, tensorsOf } from "../peers/protocol.js";

const bytesOf = (pieces: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(pieces));
const tensors: HostTensor[] = [
  { shape: [2, 3], data: Float32Array.of(1, -2, 3.5, NaN, 0, 6) },
  { shape: [2], data: BigInt64Array.of(1n, -(2n ** 40n)) },
  { shape: [], data: Float64Array.of(7) },
  { shape: [0, 4], data: new Int32Array(0) },
];

describe("messages", () => {
  it("come back as they were sent, in pieces of any size", () => {
    const sent = bytesOf([
      ...encode("prepare", { op: "linear", m: 2 }, tensors),
      ...encode("failed", { message: "a b=c, 100%\n" }),
    ]);
    for (const size of [1, 7, sent.length]) {
      const reader = new MessageReader();
      const messages = [];
      for (let at = 0; at < sent.length; at += size) messages.push(...reader.push(sent.subarray(at, at + size)));
      expect(messages.map(({ verb }) => verb)).toEqual(["prepare", "failed"]);
      expect(messages[0].fields).toMatchObject({ op: "linear", m: "2", tensors: "f32:2x3,i64:2,f64:,i32:0x4" });
      expect(tensorsOf(messages[0])).toEqual(tensors);
      expect(messages[1].fields.message).toBe("a b=c, 100%\n");
      expect(tensorsOf(messages[1])).toEqual([]);
    }
  });

  it.each(["Traceback (most recent call last):\n", "ready bytes=-1\n", "ready bytes=x\n", "=\n"])(
    "refuses %j",
    (line) => {
      expect(() => new MessageReader().push(Buffer.from(line))).toThrow(ProtocolError);
    },
  );

  it.each([
    ["ready tensors=f32:3 bytes=8\n12345678", /found 8 bytes, expected 12/],
    ["ready tensors=f32:1 bytes=8\n12345678", /found 8 bytes, expected 4/],
    ["ready tensors=f16:4 bytes=8\n12345678", /found tensor "f16:4"/],
    ["ready tensors=f32:-1 bytes=8\n12345678", /found tensor "f32:-1"/],
  ])("refuses tensors that do not fit: %j", (text, problem) => {
    const [message] = new MessageReader().push(Buffer.from(text));
    expect(() => tensorsOf(message)).toThrow(problem);
  });
});
