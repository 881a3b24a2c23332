import { encode, type HostTensor, type Message, MessageReader, tensorsOf } from "./protocol.js";

/** One way to compute an op on inputs that are in place already. */
export interface Variant {
  name?: string;
  run(): unknown;
  /** What the last run computed. */
  outputs(): HostTensor[] | Promise<HostTensor[]>;
  release?(): void;
}
/** Ways to compute an op; the fastest is measured. */
export type PeerOp = (
  inputs: readonly HostTensor[],
  params: Readonly<Record<string, number>>,
) => Variant[] | Promise<Variant[]>;

/** A JavaScript peer's whole program: answers on standard output until standard input ends. */
export async function serve(
  hello: { name: string; version: string; isa: string; threads: number },
  ops: Readonly<Record<string, PeerOp>>,
): Promise<void> {
  let variant: Variant | null = null;
  const answer = async ({ verb, fields, payload }: Message): Promise<Uint8Array[]> => {
    switch (verb) {
      case "prepare": {
        variant?.release?.();
        variant = null;
        const params = Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, Number(value)]));
        variant = await fastest(await ops[fields.op](tensorsOf({ verb, fields, payload }), params));
        await variant.run();
        return encode("ready", variant.name ? { variant: variant.name } : {}, await variant.outputs());
      }
      case "time":
        return encode("took", { ms: await time(variant!, Number(fields.iterations)) });
      case "release":
        variant?.release?.();
        variant = null;
        return encode("released", {});
      default:
        throw new Error(`unknown verb "${verb}"`);
    }
  };
  const send = (pieces: Uint8Array[]): void => pieces.forEach((piece) => process.stdout.write(piece));
  send(encode("hello", { ...hello, ops: Object.keys(ops).join(",") }));
  const reader = new MessageReader();
  for await (const chunk of process.stdin) {
    for (const message of reader.push(chunk as Uint8Array)) {
      const failed = (error: unknown): Uint8Array[] => encode("failed", { message: String(error) });
      send(await answer(message).catch(failed));
    }
  }
}

/** Milliseconds of all iterations; where there are several, one more runs before. */
async function time({ run }: Variant, iterations: number): Promise<number> {
  if (iterations > 1) await run();
  const start = performance.now();
  for (let i = 0; i < iterations; i++) {
    const result = run();
    if (result instanceof Promise) await result;
  }
  return performance.now() - start;
}

async function fastest(variants: Variant[]): Promise<Variant> {
  if (variants.length === 1) return variants[0];
  const times: number[] = [];
  for (const variant of variants) {
    await variant.run();
    const tries = [await time(variant, 1), await time(variant, 1), await time(variant, 1)];
    times.push(Math.min(...tries));
  }
  const best = times.indexOf(Math.min(...times));
  variants.forEach((variant, i) => i !== best && variant.release?.());
  return variants[best];
}
