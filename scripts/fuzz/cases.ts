import { performance } from "node:perf_hooks";
import { getHeapStatistics } from "node:v8";
import { CounterRandom } from "@md/rlbench-data";
import { mutate } from "./mutate.js";
import type { Seed, Target } from "./target.js";

export const MAX_MILLISECONDS = 1000;
export const MAX_BYTES = 2 ** 30;

/** What is wrong with how a target takes a case. */
export interface Finding {
  target: string;
  seed: number;
  case: number;
  /** Alike findings have the same kind. */
  kind: string;
  detail: string;
}

/** The input of a case: a function of target, seed and number. */
export async function makeInput(
  target: Target,
  seeds: readonly Seed[],
  seed: number,
  number: number,
): Promise<Uint8Array> {
  const random = new CounterRandom(seed, [hash(target.name), number, 0]);
  const { content, wrap } = seeds[random.below(seeds.length)];
  const { content: other } = seeds[random.below(seeds.length)];
  const mutated = mutate(content, other, random);
  return wrap ? wrap(mutated) : mutated;
}

/** Peak of this process's resident set, bytes. */
const peakBytes = (): number => process.resourceUsage().maxRSS * 1024;
const outsideBytes = (): number => getHeapStatistics().external_memory;

/** Lets a target parse an input, and judges how it ends. */
export async function judge(
  target: Target,
  input: Uint8Array,
  file: string,
): Promise<Pick<Finding, "kind" | "detail"> | null> {
  const [peak, outside, resident] = [peakBytes(), outsideBytes(), process.memoryUsage.rss()];
  const [start, busy] = [performance.now(), process.cpuUsage()];
  let result: unknown;
  let failure: unknown = null;
  try {
    result = target.parse(input, file);
    if (result instanceof Promise) result = await result;
  } catch (error) {
    failure = error ?? new Error("nothing was thrown");
  }
  // Time in which others had the processor does not count.
  const { user, system } = process.cpuUsage(busy);
  const milliseconds = Math.min(performance.now() - start, (user + system) / 1000);
  const grown = Math.max(peakBytes() > peak ? peakBytes() - resident : 0, outsideBytes() - outside);
  if (grown > MAX_BYTES) return { kind: "memory", detail: `grew by ${(grown / 2 ** 20).toFixed(0)} MiB` };
  // Last: what takes much memory may take long for that.
  if (milliseconds > MAX_MILLISECONDS) return { kind: "slow", detail: `took ${milliseconds.toFixed(0)} ms` };
  return failure === null ? null : judgeError(target, failure, file);
}

function judgeError(target: Target, error: unknown, file: string): Pick<Finding, "kind" | "detail"> | null {
  const detail = error instanceof Error ? (error.stack ?? error.message).slice(0, 4000) : String(error);
  if (!(error instanceof Error) || !target.errors.some((type) => error instanceof type))
    return { kind: `error ${place(error)}`, detail };
  if (!error.message.includes(file)) return { kind: `nameless ${place(error)}`, detail };
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) {
    if (
      cause instanceof ReferenceError ||
      /^Cannot (read|set) properties|is not (a function|iterable)/.test(cause.message)
    )
      return { kind: `hidden ${place(cause)}`, detail: `${detail}\ncaused by ${cause.stack}` };
  }
  return null;
}

// Where in our code an error was thrown.
function place(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const line = (error.stack ?? "").split("\n").find((text) => /^\s+at .*(packages|scripts)\//.test(text)) ?? "";
  return `${error.name} ${/([\w-]+\.ts:\d+)/.exec(line)?.[1] ?? error.message.slice(0, 60)}`;
}

function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
}
