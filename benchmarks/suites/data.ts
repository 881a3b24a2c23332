import {
  decodeDepth,
  decodePng,
  drawBatch,
  type DrawOptions,
  type GripperState,
  type KeyPoseDataset,
} from "@md/rlbench-data";
import { mulberry32, tensor } from "@md/tensor";
import { median } from "../measure/statistics.js";
import { makePngFrame } from "../png-frame.js";
import type { BenchCase, Metric, Suite } from "../suite.js";

const frame = makePngFrame();

/** Bytes of PNGs to colours and metres. Near and far plane go to peers in millimetres. */
const pngFrame: BenchCase = {
  name: `colour and depth PNG, ${frame.width}×${frame.height}`,
  inputs: () => [frame.color, frame.depth].map((data) => ({ shape: [data.length], data })),
  bind: (inputs) => {
    const [color, depth] = inputs.map((bytes) => Buffer.from(bytes.data() as Uint8Array));
    const { width, height } = frame;
    return () => {
      const rgb = decodePng(color, "colour", width, height).data;
      const metres = decodeDepth(decodePng(depth, "depth", width, height).data, frame);
      return [tensor(rgb, { shape: [height, width, 3] }), tensor(metres, { shape: [height, width] })];
    };
  },
  peer: { op: "png_frame", params: { near: Math.round(1000 * frame.near), far: Math.round(1000 * frame.far) } },
  tolerance: 1e-6,
  threads: "one",
  countsFor: ["png-frame"],
};

const SCENES = 100;
const POINTS = 4000;
const INSTRUCTION = { tokens: 77, dim: 512 };

/** Prepared clouds of 5 to 20 thousand points, as 3D-LOTUS stores them, with instructions as CLIP embeds them. */
function preparedClouds(count: number): KeyPoseDataset {
  const random = mulberry32(1);
  const uniform = (length: number): Float32Array => Float32Array.from({ length }, random);
  const embedding = { tokens: INSTRUCTION.tokens, data: uniform(INSTRUCTION.tokens * INSTRUCTION.dim) };
  const samples = Array.from({ length: count }, (_, i): KeyPoseDataset["samples"][number] => {
    const points = 5000 + Math.floor(15_000 * random());
    const pose = (): GripperState => ({
      position: [random(), random(), random()],
      quaternion: [0, 0, 0, 1],
      open: 1,
    });
    return {
      task: "task",
      episode: `episode${i}`,
      frame: 0,
      keyPoseIndex: 0,
      instructions: { texts: ["text"], source: "variation_descriptions" },
      embeddings: [embedding],
      cloud: { positions: uniform(3 * points), colors: uniform(3 * points) },
      gripper: pose(),
      target: pose(),
    };
  });
  return { samples, instructionDim: INSTRUCTION.dim };
}

function batches(name: string, options: Partial<DrawOptions>): BenchCase {
  let made: KeyPoseDataset | undefined;
  const draw = (step: number): Float32Array =>
    drawBatch((made ??= preparedClouds(2 * SCENES)), {
      seed: 1,
      step,
      batchSize: SCENES,
      points: POINTS,
      rotationRange: 45,
      ...options,
    }).points;
  return {
    name: `batch of ${SCENES} scenes × ${POINTS} points, ${name}`,
    bind: () => () => [tensor(draw(0), { shape: [SCENES, POINTS, 3] })],
    metrics: () => [timeAScene(draw)],
    threads: "one",
    countsFor: ["batches"],
  };
}

function timeAScene(draw: (step: number) => unknown): Metric {
  const times = Array.from({ length: 9 }, (_, step) => {
    const start = performance.now();
    draw(step);
    return performance.now() - start;
  });
  return { name: "time a scene", value: median(times) / SCENES, unit: "ms" };
}

/** What stands between files and a training step, in one thread. */
export const dataSuite: Suite = {
  name: "data",
  cases: [
    pngFrame,
    batches("uniform", {}),
    batches("2 mm of noise a point", { pointJitter: 0.002 }),
    batches("near the gripper, 2 mm of noise a point", { pointJitter: 0.002, sampling: "near gripper" }),
  ],
};
