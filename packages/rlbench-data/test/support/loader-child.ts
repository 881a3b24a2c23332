import { loadBatches, makeReachEpisode, prepareKeyPoses, toDemonstration } from "../../src/index.js";

// Draws a batch with worker threads and does `process.argv[2]` with the loader: "close" it, "leave" it, or "throw".
const dataset = prepareKeyPoses([toDemonstration(makeReachEpisode(2, 0))]);
const loader = loadBatches(dataset, { seed: 0, batchSize: 2, points: 8, workers: 2 });
console.log((await loader.batch(0)).size);
if (process.argv[2] === "close") await loader.close();
if (process.argv[2] === "throw") throw new Error("on purpose");
