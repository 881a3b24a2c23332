import { makeFixture, toyLayer } from "./support/fixture.js";
import { Run } from "../src/run/run.js";
import { describeFailure } from "../src/commands/failure.js";
import { parseOverride } from "../src/config/sources.js";
import { existsSync } from "node:fs";
import { join } from "node:path";
const f = makeFixture(2);
const assignments = process.argv.slice(2);
const t = performance.now();
try {
  const run = await Run.start({ out: join(f.folder, "out"), layers: [{source:"x", values:{model:"mini-diffuser-light",data:{points:16,instructionDim:8},policy:{embedDim:24,numLayers:1},training:{steps:1,batchSize:2}}}, ...assignments.map(parseOverride)], data: { root: f.data } });
  await run.train();
  console.log(assignments.join(" "), "TRAINED");
} catch (e) {
  const { status, message } = describeFailure(e);
  console.log(assignments.join(" "), "->", status, (e as Error).name, message?.split("\n").slice(0, 3).join(" | ").slice(0, 300), "checkpoint:", existsSync(join(f.folder, "out", "checkpoint.safetensors")));
} finally { f.remove(); }
console.log("   ms", Math.round(performance.now()-t), "rss MB", Math.round(process.memoryUsage().rss/1e6));
