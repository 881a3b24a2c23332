import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { PeerProcess } from "../peers/peer-process.js";
import { ProtocolError } from "../peers/protocol.js";

// A peer in a few lines of plain Node, so that none has to be installed.
const start = (program: string): Promise<PeerProcess> =>
  PeerProcess.start({ name: "fake", command: process.execPath, args: ["-e", program], env: {} });

const hello = `process.stdout.write("hello name=fake version=1.2 isa=none threads=2 ops=add,mul\\n");`;
const answering = (answers: Record<string, string>): string => `${hello}
  const answers = ${JSON.stringify(answers)};
  // A request may come behind the last bytes of the tensors of the one before.
  process.stdin.on("data", (chunk) => {
    for (const verb in answers) if (chunk.includes(verb)) process.stdout.write(answers[verb]);
  });`;

describe("a peer's process", () => {
  it("says what it is, prepares, times and leaves", async () => {
    const peer = await start(
      answering({
        prepare: "ready variant=a%20loop tensors=i32:1 bytes=4\n\u0001\u0000\u0000\u0000",
        time: "took ms=12.5\n",
        release: "released\n",
      }),
    );
    expect(peer).toMatchObject({ name: "fake", version: "1.2", isa: "none", threads: 2 });
    expect([peer.knows("add"), peer.knows("sub")]).toEqual([true, false]);
    const prepared = await peer.prepare("add", { n: 1 }, [{ shape: [1], data: Float32Array.of(1) }]);
    expect(prepared).toEqual({ outputs: [{ shape: [1], data: Int32Array.of(1) }], variant: "a loop" });
    expect(await peer.time(3)).toBe(12.5);
    await peer.release();
    await peer.close();
    expect(peer.knows("add")).toBe(false);
  });

  it.skipIf(process.platform !== "linux")("rests when its threads sleep", async () => {
    // Once asked to, it works for a while after its answer.
    const peer = await start(`${answering({})}
      process.stdin.on("data", () => {
        process.stdout.write("took ms=1\\n", () => {
          const end = Date.now() + 400;
          while (Date.now() < end);
        });
      });`);
    const until = async (resting: boolean): Promise<void> => {
      while (peer.resting() !== resting) await sleep(1);
    };
    await until(true);
    await peer.time(1);
    await until(false);
    await until(true);
    await peer.close();
  });

  it("that is absent is named with what it said last", async () => {
    const absent = start(`console.error("first"); console.error("No module named torch"); process.exit(1)`);
    await expect(absent).rejects.toThrow("fake left with status 1: No module named torch");
    await expect(start(`require("nothing-of-that-name")`)).rejects.toThrow(
      "fake left with status 1: Error: Cannot find module 'nothing-of-that-name'",
    );
    const missing = PeerProcess.start({ name: "gone", command: "/nonexistent/python3", args: [], env: {} });
    await expect(missing).rejects.toThrow(/^gone .*ENOENT/);
  });

  it("fails the request, not the benchmark", async () => {
    const peer = await start(answering({ prepare: "failed message=out%20of%20memory\n", time: "took ms=NaN\n" }));
    await expect(peer.prepare("add", {}, [])).rejects.toThrow("fake: out of memory");
    await expect(peer.time(1)).rejects.toThrow(ProtocolError);
    await peer.close();
  });

  it("that speaks something else is stopped", async () => {
    await expect(start(`console.log("Python 3.11"); setInterval(() => {}, 1000)`)).rejects.toThrow(ProtocolError);
  });
});
