// jax-js as a peer, on its WebAssembly backend: `jax.mjs THREADS`. In Node it computes with one thread.
import { createRequire } from "node:module";
import { blockUntilReady, defaultDevice, init, jit, nn, numpy as np } from "@jax-js/jax";
import { serve } from "./serve.ts";

await init("wasm");
defaultDevice("wasm");
const { version } = createRequire(import.meta.resolve("@jax-js/jax"))("../package.json");

/** A variant that runs a compiled function; arrays are counted by reference, and a call uses its arguments up. */
const op = (compute) => (inputs) => {
  const arrays = inputs.map(({ data, shape }) => np.array(data).reshape(shape));
  const compiled = jit(compute);
  let result = null;
  return [
    {
      run: async () => {
        result?.dispose();
        result = await blockUntilReady(compiled(...arrays.map((x) => x.ref)));
      },
      outputs: async () => [{ shape: result.shape, data: new Float32Array(await result.ref.data()) }],
      release: () => {
        for (const array of [...arrays, result]) array?.dispose();
      },
    },
  ];
};

await serve(
  { name: "jax-js", version, isa: "WebAssembly", threads: 1 },
  {
    linear: op((x, weight) => np.matmul(x, weight.transpose())),
    linearGradX: op((grad, weight) => np.matmul(grad, weight)),
    linearGradW: op((grad, x) => np.matmul(grad.transpose(), x)),
    add: op((a, b) => a.add(b)),
    gelu: op((x) => nn.gelu(x, { approximate: false })),
    relu: op((x) => nn.relu(x)),
    exp: op((x) => np.exp(x)),
    softmax: op((x) => nn.softmax(x, -1)),
    layerNorm: op((x, weight, bias) => nn.standardize(x, -1, { epsilon: 1e-5 }).mul(weight).add(bias)),
  },
);
