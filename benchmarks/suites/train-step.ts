import { MiniDiffuserLight } from "@md/diffusion";
import {
  adamwStep,
  assign,
  backward,
  cat,
  Generator,
  getNumThreads,
  layerNorm,
  linear,
  maskedAttention,
  mseLoss,
  randn,
  scope,
  type Tensor,
  zerosLike,
} from "@md/tensor";
import { bundle } from "../compile.js";
import { peakResidentBytes } from "../measure/resident.js";
import type { HostTensor } from "../peers/protocol.js";
import { torchStepAlone } from "../peers/torch-mini-diffuser.js";
import { fullPolicy, policySteps, stepsOf } from "../policy-step.js";
import { randomBatch, surfaceBatch } from "../scenes.js";
import { type BenchCase, type Bind, type Metric, random, randomInputs, stateless, type Suite } from "../suite.js";
import { costOfSamples } from "./level2.js";

const [batch, tokens, width, heads, blocks] = [8, 256, 72, 4, 3];

// Weights of a block: norm, queries, keys and values, output, norm, up, down; weight and bias of each.
const blockShapes = [
  [width],
  [width],
  [3 * width, width],
  [3 * width],
  [width, width],
  [width],
  [width],
  [width],
  [4 * width, width],
  [4 * width],
  [width, 4 * width],
  [width],
];

function block(x: Tensor, weights: readonly Tensor[]): Tensor {
  const [norm1, shift1, qkvWeight, qkvBias, outWeight, outBias, norm2, shift2, upWeight, upBias, downWeight, downBias] =
    weights;
  const normed = layerNorm(x, { weight: norm1, bias: shift1 });
  const qkv = linear(normed, qkvWeight, qkvBias).reshape([batch, tokens, 3, heads, width / heads]);
  const [q, k, v] = [0, 1, 2].map((part) => qkv.narrow(2, part, 1).squeeze(2).permute([0, 2, 1, 3]));
  const attended = maskedAttention(q, k, v).permute([0, 2, 1, 3]).reshape(x.shape);
  const middle = x.add(linear(attended, outWeight, outBias));
  const hidden = linear(layerNorm(middle, { weight: norm2, bias: shift2 }), upWeight, upBias, { activation: "gelu" });
  return middle.add(linear(hidden, downWeight, downBias));
}

function blockInputs(): HostTensor[] {
  const weights = Array.from({ length: blocks }, () => blockShapes).flat();
  const scaled = (shape: number[], i: number): HostTensor => {
    const { data } = random(shape, i + 3);
    const isNorm = i % 6 === 0;
    return { shape, data: (data as Float32Array).map((value) => (isNorm ? 1 + 0.1 * value : 0.1 * value)) };
  };
  return [random([batch, tokens, width], 1), random([batch, tokens, width], 2), ...weights.map(scaled)];
}

/** Outputs: the first step's loss, and the parameters after it, flat. */
const blockSteps: Bind = ([x, target, ...initial]) => {
  const parameters = initial.map((weight) => {
    const parameter = zerosLike(weight);
    assign(parameter, weight);
    parameter.requiresGrad = true;
    return parameter;
  });
  const [expAvgs, expAvgSqs] = [parameters.map(zerosLike), parameters.map(zerosLike)];
  let step = 0;
  return () => {
    step++;
    let y = x;
    for (let i = 0; i < parameters.length; i += blockShapes.length)
      y = block(y, parameters.slice(i, i + blockShapes.length));
    const loss = mseLoss(y, target);
    backward(loss);
    const grads = parameters.map(({ grad }) => grad!);
    const options = { lr: 1e-3, betas: [0.9, 0.98] as const, eps: 1e-8, weightDecay: 0.01, step };
    adamwStep({ parameters, grads, expAvgs, expAvgSqs }, options);
    for (const parameter of parameters) {
      parameter.grad!.dispose();
      parameter.grad = null;
    }
    return step === 1
      ? [
          loss.detach(),
          cat(
            parameters.map((p) => p.detach().flatten()),
            0,
          ),
        ]
      : [];
  };
};

function lightPolicy(size: number, points: number): BenchCase {
  const observed = randomBatch(size, points);
  const create = (): MiniDiffuserLight => new MiniDiffuserLight({}, { generator: new Generator(1) });
  const flops = create().stepFlops(observed);
  return {
    name: `Mini-Diffuser light, ${size} scenes of ${points} points, 64 samples, forward and backward`,
    bind: () => {
      const policy = create();
      const generator = new Generator(2);
      return () => {
        const { loss } = policy.loss(observed, generator);
        backward(loss);
        policy.zeroGrad();
        return [loss.detach()];
      };
    },
    flops,
  };
}

/** Sizes of the step that the paper's peer in PyTorch is measured on, and the operations counted in that. */
const full = { scenes: 4, points: 1000, samples: 64 };
const fullFlops = 41.5e9;

/** So large that packing and stores hardly count; six of them have the operations of the full step. */
const [m, k, n] = [1536, 1466, 1536];
const largeProducts = 6;

function largeProduct(): BenchCase {
  return {
    name: `a large product, y = x Wᵀ ${m}×${k}×${n}`,
    inputs: randomInputs([
      [m, k],
      [n, k],
    ]),
    bind: stateless((x, weight) => linear(x, weight)),
    peer: { op: "linear", params: { m, k, n } },
    flops: fullFlops / largeProducts,
    tolerance: 1e-5,
    threads: "most",
    countsFor: ["full-step-share"],
  };
}

const bindLargeProducts: Bind = () => {
  const generator = new Generator(1);
  const [x, weight] = [randn([m, k], { generator }), randn([n, k], { generator })];
  return () => {
    for (let i = 0; i < largeProducts; i++) scope(() => void linear(x, weight));
    return [];
  };
};

function fullStep(): BenchCase {
  const { scenes, points, samples } = full;
  return {
    name: `Mini-Diffuser of 17.6 million parameters, ${scenes} scenes of ${points} points, ${samples} samples, with AdamW`,
    bind: stepsOf(() => policySteps(fullPolicy({ compat: "fixed", samples }), surfaceBatch(scenes, points))),
    baseline: { name: "large products", bind: bindLargeProducts, sameResult: false },
    peer: { op: "miniDiffuserStep", params: full },
    flops: fullFlops,
    threads: "most",
    metrics: residentMemory,
    countsFor: ["full-step", "full-step-share", "full-step-resident"],
  };
}

/** Of processes that do nothing but a few such steps: ours, and the peer's where it is measured. */
async function residentMemory(peers: readonly string[]): Promise<Metric[]> {
  const threads = getNumThreads();
  // As many as the peer's own benchmark runs.
  const count = 6;
  const sizes = [full.scenes, full.points, full.samples, count].map(String);
  const program = await bundle("measure/full-step-alone.ts");
  const own = await peakResidentBytes({ command: process.execPath, args: [program, ...sizes] });
  const metrics = [{ name: "resident memory at its peak", value: own / 1e6, unit: "MB" }];
  const peer = peers.includes("torch") ? torchStepAlone(full, count, threads) : null;
  if (!peer) return metrics;
  const theirs = await peakResidentBytes(peer);
  return [
    ...metrics,
    { name: "PyTorch's", value: theirs / 1e6, unit: "MB" },
    { name: "resident memory beside PyTorch's", value: own / theirs, unit: "x" },
  ];
}

/** Time and peak bytes of the full policy against samples, and against scenes. */
function fullCurves(): BenchCase[] {
  const point = (what: string, x: number, scenes: number, samples: number): BenchCase => ({
    name: `full Mini-Diffuser by ${what}, B = ${scenes}, M = ${samples}, 4000 points a scene`,
    bind: stepsOf(() => policySteps(fullPolicy({ samples }), surfaceBatch(scenes, 4000))),
    threads: "most",
    curve: { name: `training step of the full Mini-Diffuser by ${what}`, x },
    countsFor: ["full-memory"],
  });
  return [
    ...[1, 4, 16, 64, 256].map((samples) => point("samples M", samples, 2, samples)),
    ...[1, 2, 4, 8].map((scenes) => point("scenes B", scenes, scenes, 1)),
  ];
}

const weights = blocks * blockShapes.slice(0).reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);

/** Whole steps of training. */
export const trainStepSuite: Suite = {
  name: "train-step",
  cases: [
    {
      name: `${blocks} transformer blocks of ${width} channels, ${batch}×${tokens} tokens, with AdamW`,
      inputs: blockInputs,
      bind: blockSteps,
      peer: { op: "trainStep", params: { heads } },
      flops: 6 * batch * tokens * weights + 7 * 2 * blocks * batch * tokens * tokens * width,
      countsFor: ["scaling"],
    },
    lightPolicy(2, 1024),
    largeProduct(),
    fullStep(),
    costOfSamples("full Mini-Diffuser, ", (samples) => fullPolicy({ samples }), surfaceBatch(2, 4000), [
      "full-level2-time",
      "full-level2-bytes",
    ]),
    ...fullCurves(),
  ],
};
