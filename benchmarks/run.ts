// npm run bench [-- --suite NAME --filter RE --json]
import { parseArgs } from "node:util";
import { getNumThreads, isa } from "@md/tensor";
import type { Suite } from "./suite.js";
import { level2Suite } from "./suites/level2.js";
import { overheadSuite } from "./suites/overhead.js";
import { samplingSuite } from "./suites/sampling.js";

const suites: readonly Suite[] = [overheadSuite, samplingSuite, level2Suite];

const { values } = parseArgs({
  options: { suite: { type: "string" }, filter: { type: "string" }, json: { type: "boolean", default: false } },
});
const chosen = suites.filter((suite) => values.suite === undefined || suite.name === values.suite);
if (chosen.length === 0) {
  console.error(`unknown suite "${values.suite}", expected one of ${suites.map((suite) => suite.name).join(", ")}`);
  process.exit(2);
}
const filter = new RegExp(values.filter ?? "");
if (!values.json) console.log(`${isa()}, ${getNumThreads()} threads, Node ${process.version}`);
for (const suite of chosen) {
  for (const { name, run } of suite.cases) {
    if (!filter.test(name)) continue;
    if (!values.json) console.log(`\n${suite.name}: ${name}`);
    for (const row of run()) {
      if (values.json) console.log(JSON.stringify({ suite: suite.name, case: name, ...row }));
      else {
        const verdict = row.met ? "met" : "MISSED";
        console.log(
          `  ${row.metric.padEnd(20)} ${row.value.toPrecision(4).padStart(9)} ${row.unit.padEnd(3)} target ${row.target.padEnd(9)} ${verdict}  ${row.note}`,
        );
      }
    }
  }
}
