import type { Target } from "./target.js";

let number = Number(process.argv[5]);

/** What each case does that no parser may do; for the tests of the supervision. */
const misdeeds: readonly ((file: string) => unknown)[] = [
  () => null,
  () => process.abort(),
  () => {
    for (;;);
  },
  () => spin(1200),
  () => Buffer.alloc(2 ** 30 + 2 ** 20, 1),
  () => (null as unknown as { field: string }).field,
  () => {
    throw new RangeError("names no file");
  },
];

function spin(milliseconds: number): void {
  const start = process.cpuUsage();
  let busy = 0;
  while (busy < 1000 * milliseconds) {
    const { user, system } = process.cpuUsage(start);
    busy = user + system;
  }
}

export const targets: readonly Target[] = [
  {
    name: "misbehaving",
    seeds: () => [{ content: Buffer.from("seed") }],
    parse: (_, file) => misdeeds[number++](file),
    errors: [RangeError],
  },
];
