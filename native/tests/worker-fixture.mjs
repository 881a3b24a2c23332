// A worker that multiplies matrices of its own: `{ side, keep, forever }` in workerData, see worker.test.ts.
import { parentPort, workerData } from "node:worker_threads";
import { native } from "@md/native";

const F32 = 0;
const { side, keep, forever } = workerData;

function filled(value) {
  native.full(F32, Int32Array.of(side, side), value);
  return native.outputs[0];
}

const a = filled(2);
const b = filled(3);
const first = new Float32Array(side * side);
for (let i = 0; i < keep; i++) filled(i);

do {
  native.matmul(a, b);
  const product = native.outputs[0];
  native.toBytes(product, new Uint8Array(first.buffer));
  native.free(product);
  parentPort.postMessage({
    wrong: first.filter((x) => x !== 6 * side).length,
    liveTensors: native.memory()[0],
    threads: native.getNumThreads(),
  });
} while (forever);
