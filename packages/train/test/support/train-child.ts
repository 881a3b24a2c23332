import { Run } from "../../src/run/run.js";
import { toyLayer } from "./fixture.js";

const [out, data] = process.argv.slice(2) as [string, string];
const everyStep = { source: "child", values: { training: { steps: 1_000_000, checkpointEvery: 1 } } };
const run = await Run.start({ out, layers: [toyLayer, everyStep], data: { root: data } });
await run.train();
