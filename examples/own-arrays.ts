// Training on one's own arrays, without RLBench: scenes of one coloured point cloud whose centre is the target.
import { MiniDiffuserLight, type PolicyBatch } from "@md/diffusion";
import { Generator, mulberry32, scope } from "@md/tensor";
import { AdamW } from "@md/train";

const size = 4;
const pointsPerScene = 24;

/** A ball of points around a random centre; the policy is to move to the centre. */
function drawBatch(random: () => number): PolicyBatch {
  const targetPosition = Float32Array.from({ length: size * 3 }, () => 0.4 * (random() - 0.5));
  const points = Float32Array.from(
    { length: size * pointsPerScene * 3 },
    (_, i) => targetPosition[Math.floor(i / (pointsPerScene * 3)) * 3 + (i % 3)]! + 0.04 * (random() - 0.5),
  );
  const proprio = new Float32Array(size * 8);
  for (let i = 0; i < size; i++) proprio.set([0, 0, 0.3, 0, 0, 0, 1, 1], 8 * i);
  return {
    size,
    pointsPerScene,
    points,
    colors: new Float32Array(points.length).fill(0.5),
    instructionTokens: 1,
    instructionDim: 4,
    instruction: new Float32Array(size * 4).fill(1),
    instructionLengths: new Int32Array(size).fill(1),
    proprio,
    targetPosition,
    targetRotationBins: new Int32Array(size * 3).fill(36),
    targetOpen: new Float32Array(size).fill(1),
  };
}

const generator = new Generator(1);
const positionBounds = { min: [-0.25, -0.25, -0.25], max: [0.25, 0.25, 0.25] };
const policy = new MiniDiffuserLight(
  { embedDim: 48, numHeads: 2, numLayers: 2, instructionDim: 4, positionBounds },
  { generator },
);
const optimizer = new AdamW(policy.namedParameters(), { learningRate: 2e-3 });
const random = mulberry32(1);
const steps = Number(process.argv[2] ?? 400);
for (let step = 0; step < steps; step++) {
  scope(() => {
    const { loss } = policy.loss(drawBatch(random), generator);
    loss.backward();
    optimizer.step();
    policy.zeroGrad();
    if (step % 50 === 0) console.log(`step ${step} loss ${loss.item().toFixed(3)}`);
  });
}

policy.eval();
const test = drawBatch(random);
const { position } = policy.sample(test, { generator, candidates: 1 });
const errors = Array.from({ length: size }, (_, i) =>
  Math.hypot(...[0, 1, 2].map((axis) => position[3 * i + axis]! - test.targetPosition[3 * i + axis]!)),
);
console.log(`error in cm: ${errors.map((error) => (100 * error).toFixed(1)).join(" ")}`);
