// TensorFlow.js as a peer, on its WebAssembly backend: `tensorflow.mjs THREADS`. In Node it computes with one thread.
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import { serve } from "./serve.ts";

const require = createRequire(import.meta.url);
setWasmPaths(`${dirname(require.resolve("@tensorflow/tfjs-backend-wasm/package.json"))}/dist/`);
await tf.setBackend("wasm");
await tf.ready();

/** A variant for each function of tensors. */
const op =
  (...ways) =>
  (inputs, params) => {
    const tensors = inputs.map(({ data, shape }) => tf.tensor(data, shape));
    let running = ways.length;
    return ways.map((compute) => {
      let results = [];
      return {
        name: ways.length > 1 ? compute.name : undefined,
        run: () => {
          tf.dispose(results);
          results = tf.tidy(() => [compute(tensors, params)].flat());
        },
        outputs: () => results.map((x) => ({ shape: x.shape, data: x.dataSync() })),
        release: () => {
          tf.dispose(results);
          if (--running === 0) tf.dispose(tensors);
        },
      };
    });
  };

// Its product of transposed operands may be far slower than a transposition and a plain product.
const product = (transposeA, transposeB) => {
  const transpose = ([a, b]) => tf.matMul(transposeA ? tf.transpose(a) : a, transposeB ? tf.transpose(b) : b);
  const flags = ([a, b]) => tf.matMul(a, b, transposeA, transposeB);
  return transposeA || transposeB ? op(flags, transpose) : op(flags);
};

function layerNorm([x, weight, bias]) {
  const { mean, variance } = tf.moments(x, -1, true);
  const normed = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5)));
  return tf.add(tf.mul(normed, weight), bias);
}

await serve(
  {
    name: "tfjs",
    version: tf.version_core,
    isa: tf.env().get("WASM_HAS_SIMD_SUPPORT") ? "WebAssembly SIMD" : "WebAssembly",
    threads: 1,
  },
  {
    linear: product(false, true),
    linearGradX: product(false, false),
    linearGradW: product(true, false),
    add: op(([a, b]) => tf.add(a, b)),
    gelu: op(([x]) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1))),
    relu: op(([x]) => tf.relu(x)),
    exp: op(([x]) => tf.exp(x)),
    softmax: op(([x]) => tf.softmax(x, -1)),
    layerNorm: op(layerNorm),
    smallAdds: op(([a, b], { count }) => {
      for (let i = 1; i < count; i++) tf.add(a, b).dispose();
      return tf.add(a, b);
    }),
  },
);
