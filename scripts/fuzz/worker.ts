// A process that runs cases of one target: WORKER MODULE TARGET SEED FIRST END FOLDER. `FOLDER/case` says which it is at.
import { openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type Finding, judge, makeInput } from "./cases.js";
import type { Target } from "./target.js";

const [module, name, seed, first, end, folder] = process.argv.slice(2);
const { targets } = (await import(module)) as { targets: readonly Target[] };
const target = targets.find((candidate) => candidate.name === name)!;
const seeds = await target.seeds();
const journal = openSync(join(folder, "case"), "w");
const number = Buffer.alloc(8);
let breathed = performance.now();
for (let i = Number(first); i < Number(end); i++) {
  number.writeDoubleLE(i);
  writeSync(journal, number, 0, 8, 0);
  const input = await makeInput(target, seeds, Number(seed), i);
  const wrong = await judge(target, input, join(folder, "input"));
  if (wrong) await send({ target: name, seed: Number(seed), case: i, ...wrong });
  if (performance.now() - breathed > 100) {
    await new Promise((next) => setImmediate(next));
    breathed = performance.now();
  }
}
number.writeDoubleLE(Number(end));
writeSync(journal, number, 0, 8, 0);
process.disconnect();

function send(finding: Finding): Promise<void> {
  return new Promise((sent) => void process.send!(finding, () => sent()));
}
