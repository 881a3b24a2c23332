// onnxruntime-node as a peer: `onnxruntime.mjs THREADS`. Inference alone; outputs go to tensors that are there already.
import { createRequire } from "node:module";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { onnxModel } from "./onnx-model.ts";
import { serve } from "./serve.ts";

const threads = Number(process.argv[2]);
const { version } = createRequire(import.meta.url)("onnxruntime-node/package.json");

/** A variant that runs a graph whose inputs are named a, b, c … in the order of `inputs`. */
async function graph(name, inputs, outputs, nodes, constants) {
  const names = inputs.map((_, i) => String.fromCharCode(97 + i));
  const model = onnxModel({
    nodes,
    inputs: Object.fromEntries(names.map((key, i) => [key, inputs[i].shape])),
    outputs,
    constants,
  });
  const session = await InferenceSession.create(model, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
  });
  const feeds = Object.fromEntries(
    names.map((key, i) => [key, new Tensor("float32", inputs[i].data, inputs[i].shape)]),
  );
  const size = (shape) => shape.reduce((product, extent) => product * extent, 1);
  const fetches = Object.fromEntries(
    Object.entries(outputs).map(([key, { shape }]) => [
      key,
      new Tensor("float32", new Float32Array(size(shape)), shape),
    ]),
  );
  let results = fetches;
  return {
    name,
    run: async () => {
      results = await session.run(feeds, fetches);
    },
    outputs: () => Object.keys(outputs).map((key) => ({ shape: outputs[key].shape, data: results[key].data })),
    release: () => void session.release(),
  };
}

const single = (op, attributes, shape) => async (inputs, params) => {
  const names = inputs.map((_, i) => String.fromCharCode(97 + i));
  const node = { op, inputs: names, outputs: ["y"], attributes: attributes?.(params) };
  return [await graph("", inputs, { y: { shape: (shape ?? ((x) => x[0].shape))(inputs, params) } }, [node])];
};

const product = (transA, transB) =>
  single(
    "Gemm",
    () => ({ transA, transB }),
    ([a, b]) => [a.shape[transA ? 1 : 0], b.shape[transB ? 0 : 1]],
  );

/** 0 where a token may attend, -infinity elsewhere. */
function level2Mask({ samples, tokensPerSample, conditionTokens }) {
  const actions = samples * tokensPerSample;
  const tokens = actions + conditionTokens;
  const data = new Float32Array(tokens * tokens).fill(-Infinity);
  for (let i = 0; i < tokens; i++) {
    data.fill(0, i * tokens + actions, (i + 1) * tokens);
    const own = Math.floor(i / tokensPerSample) * tokensPerSample;
    if (i < actions) data.fill(0, i * tokens + own, i * tokens + own + tokensPerSample);
  }
  return { shape: [1, 1, tokens, tokens], data };
}

async function level2Attention(inputs, params) {
  const [tokens, heads, headDim] = inputs[0].shape;
  const outputs = { y: { shape: [tokens, heads, headDim] } };
  const integers = (values) => ({ shape: [values.length], data: BigInt64Array.from(values, BigInt) });
  const constants = {
    mask: level2Mask(params),
    scale: { shape: [], data: Float32Array.of(headDim ** -0.5) },
    byHead: integers([1, tokens, heads, headDim]),
    byToken: integers([tokens, heads, headDim]),
  };
  const node = (op, inputs, outputs, attributes) => ({ op, inputs, outputs, attributes });
  const shaped = ["a", "b", "c"].map((name) => node("Reshape", [name, "byHead"], [`${name}4`]));
  const split = (name, perm) => node("Transpose", [`${name}4`], [`${name}t`], { perm });
  const merge = [
    node("Transpose", ["out"], ["merged"], { perm: [0, 2, 1, 3] }),
    node("Reshape", ["merged", "byToken"], ["y"]),
  ];
  const swap = [0, 2, 1, 3];
  const steps = [
    ...shaped,
    split("a", swap),
    split("b", [0, 2, 3, 1]),
    split("c", swap),
    node("MatMul", ["at", "bt"], ["raw"]),
    node("Mul", ["raw", "scale"], ["scaled"]),
    node("Add", ["scaled", "mask"], ["scores"]),
    node("Softmax", ["scores"], ["probabilities"], { axis: -1 }),
    node("MatMul", ["probabilities", "ct"], ["out"]),
    ...merge,
  ];
  const attention = [
    ...shaped,
    ...["a", "b", "c"].map((name) => split(name, swap)),
    node("Attention", ["at", "bt", "ct", "mask"], ["out"]),
    ...merge,
  ];
  const flat = { ...constants, byToken3: integers([1, tokens, heads * headDim]) };
  const multiHead = [
    ...["a", "b", "c"].map((name) => node("Reshape", [name, "byToken3"], [`${name}3`])),
    {
      op: "MultiHeadAttention",
      inputs: ["a3", "b3", "c3", "", "", "mask"],
      outputs: ["out3"],
      attributes: { num_heads: heads },
      domain: "com.microsoft",
    },
    node("Reshape", ["out3", "byToken"], ["y"]),
  ];
  return [
    await graph("MatMul and Softmax", inputs, outputs, steps, constants),
    await graph("Attention", inputs, outputs, attention, constants),
    await graph("MultiHeadAttention", inputs, outputs, multiHead, flat),
  ];
}

await serve(
  { name: "onnxruntime", version, isa: "chosen at run time", threads },
  {
    linear: product(0, 1),
    linearGradX: product(0, 0),
    linearGradW: product(1, 0),
    add: single("Add"),
    gelu: single("Gelu"),
    relu: single("Relu"),
    exp: single("Exp"),
    softmax: single("Softmax", () => ({ axis: -1 })),
    layerNorm: single("LayerNormalization", () => ({ axis: -1, epsilon: { float: 1e-5 } })),
    conv2d: single(
      "Conv",
      ({ stride, padding }) => ({ strides: [stride, stride], pads: [padding, padding, padding, padding] }),
      ([x, weight], { stride, padding }) => {
        const extent = (axis) => Math.floor((x.shape[axis] + 2 * padding - weight.shape[axis]) / stride) + 1;
        return [x.shape[0], weight.shape[0], extent(2), extent(3)];
      },
    ),
    topk: async (inputs, { k }) => {
      const shape = [k];
      const node = { op: "TopK", inputs: ["a", "k"], outputs: ["values", "indices"] };
      const constants = { k: { shape: [1], data: BigInt64Array.of(BigInt(k)) } };
      return [await graph("", inputs, { values: { shape } }, [node], constants)];
    },
    level2Attention,
  },
);
