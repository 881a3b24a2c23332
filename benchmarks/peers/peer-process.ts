import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { encode, type HostTensor, type Message, MessageReader, ProtocolError, tensorsOf } from "./protocol.js";

/** How a peer's process is started. */
export interface PeerCommand {
  name: string;
  command: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
}

const answerLimitMs = 600_000;

/** The error among the lines that a program wrote last: Node and Python end with more than it. */
export const lastError = (lines: readonly string[]): string | undefined =>
  lines.findLast((line) => /Error\b.*: /.test(line)) ?? lines.at(-1);

/** A peer in a process of its own, with a fixed number of threads. */
export class PeerProcess {
  private readonly reader = new MessageReader();
  private readonly errors: string[] = [];
  private waiting: { resolve(message: Message): void; reject(error: Error): void } | null = null;
  private ended: Error | null = null;
  version = "";
  isa = "";
  /** As many as it says that it uses. */
  threads = 0;
  private ops = new Set<string>();

  private constructor(
    readonly name: string,
    private readonly child: ChildProcess & { stdin: Writable; stdout: Readable; stderr: Readable },
  ) {
    child.stdout.on("data", (chunk: Uint8Array) => this.receive(chunk));
    child.stderr.on("data", (chunk: Uint8Array) => {
      this.errors.push(...chunk.toString().split("\n").filter(Boolean));
      this.errors.splice(0, this.errors.length - 20);
    });
    child.on("error", (error) => this.end(error.message));
    child.on("close", (code, signal) => this.end(`left with ${signal ?? `status ${code}`}`));
    child.stdin.on("error", () => undefined); // `close` says why
  }

  /** Starts the process and waits until it says hello; an Error names what went wrong. */
  static async start({ name, command, args, env }: PeerCommand): Promise<PeerProcess> {
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"] });
    const peer = new PeerProcess(name, child);
    const { fields } = await peer.answer("hello");
    peer.version = fields.version;
    peer.isa = fields.isa;
    peer.threads = Number(fields.threads);
    peer.ops = new Set(fields.ops.split(","));
    return peer;
  }

  knows(op: string): boolean {
    return this.ended === null && this.ops.has(op);
  }

  /** Hands over an op and its inputs; returns the peer's result and the name of the way it computes it, if it has several. */
  async prepare(
    op: string,
    params: Readonly<Record<string, number>>,
    inputs: readonly HostTensor[],
  ): Promise<{ outputs: HostTensor[]; variant: string }> {
    const message = await this.ask(encode("prepare", { op, ...params }, inputs), "ready");
    return { outputs: tensorsOf(message), variant: message.fields.variant ?? "" };
  }

  /** Milliseconds of `iterations` runs of what was prepared. */
  async time(iterations: number): Promise<number> {
    const { fields } = await this.ask(encode("time", { iterations }), "took");
    const ms = Number(fields.ms);
    if (!(ms >= 0)) throw new ProtocolError(`${this.name} took "${fields.ms}" ms, expected a number`);
    return ms;
  }

  /** Whether all its threads sleep, as far as the system tells (Linux does). */
  resting(): boolean {
    const tasks = `/proc/${this.child.pid}/task`;
    try {
      // After the program's name, in parentheses, comes the state.
      return readdirSync(tasks).every((thread) => !/\) R [^)]*$/.test(readFileSync(`${tasks}/${thread}/stat`, "utf8")));
    } catch {
      return true; // One has just ended, or the system does not tell.
    }
  }

  async release(): Promise<void> {
    await this.ask(encode("release", {}), "released");
  }

  async close(): Promise<void> {
    if (this.ended) return;
    const closed = new Promise((resolve) => this.child.once("close", resolve));
    this.child.stdin.end();
    await closed;
  }

  private async ask(pieces: readonly Uint8Array[], expected: string): Promise<Message> {
    for (const piece of pieces) this.child.stdin.write(piece);
    return this.answer(expected);
  }

  private async answer(expected: string): Promise<Message> {
    if (this.ended) throw this.ended;
    const limit = setTimeout(() => this.child.kill("SIGKILL"), answerLimitMs);
    try {
      const message = await new Promise<Message>((resolve, reject) => (this.waiting = { resolve, reject }));
      if (message.verb === "failed") throw new Error(`${this.name}: ${message.fields.message}`);
      if (message.verb !== expected)
        throw new ProtocolError(`${this.name} said "${message.verb}", expected "${expected}"`);
      return message;
    } finally {
      clearTimeout(limit);
      this.waiting = null;
    }
  }

  private receive(chunk: Uint8Array): void {
    try {
      for (const message of this.reader.push(chunk)) this.waiting?.resolve(message);
    } catch (error) {
      this.waiting?.reject(error as Error);
      this.child.kill("SIGKILL");
    }
  }

  private end(how: string): void {
    const said = lastError(this.errors);
    this.ended ??= new Error(said ? `${this.name} ${how}: ${said}` : `${this.name} ${how}`);
    this.waiting?.reject(this.ended);
  }
}
