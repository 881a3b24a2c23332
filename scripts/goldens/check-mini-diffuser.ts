import { DDPMScheduler, type EncodedScenes, MiniDiffuser, releasedNames, type SceneTensors } from "@md/diffusion";
import { rotationBinsToQuaternion } from "@md/rlbench-data";
import {
  argmax,
  compareNumbers,
  type DeviceName,
  Generator,
  mean,
  noGrad,
  scope,
  tensor,
  type Tensor,
} from "@md/tensor";
import { compare } from "./compare.js";
import { array, type GoldenFile, load, metadata } from "./golden-file.js";
import { emptyReport, type GoldenReport, runCase } from "./report.js";

const LOSS = 1e-4;
const PARAMETER_GRADIENT = 1e-3;
// Biases in front of a norm get no gradient but rounding errors: those are held against the norm of the whole gradient.
const ROUNDING = 3e-8;
const STATISTICS = 1e-5;
const ACTIONS = 1e-4;

interface ReleasedConfig {
  ptv3_config: Record<
    "enc_depths" | "enc_channels" | "enc_num_head" | "dec_depths" | "dec_channels" | "dec_num_head" | "enc_patch_size",
    number[]
  > & { ctx_channels: number };
  action_config: { voxel_size: number; txt_ft_size: number };
  loss_config: { pos_weight: number; rot_weight: number };
  mini_batches: number;
  total_timesteps: number;
}

/** Whether the file is a training step and a sampling run of the released Mini-Diffuser. */
export const isMiniDiffuser = (golden: GoldenFile): boolean =>
  ["released", "fixed"].includes(golden.metadata.mode ?? "") && golden.arrays.has("in.pc_fts");

/** Holds losses, gradients, batch statistics and every sampling step on `device` against the file. */
export function checkMiniDiffuser(golden: GoldenFile, device: DeviceName = "cpu"): GoldenReport {
  const report = emptyReport();
  scope(() => {
    const policy = build(golden).to(device);
    try {
      runCase(report, "losses, gradients and batch statistics", () => scope(() => checkStep(golden, policy, device)));
      runCase(report, "sampling, step by step", () => scope(() => checkSampling(golden, policy, device)));
    } finally {
      policy.dispose();
    }
  });
  return report;
}

function build(golden: GoldenFile): MiniDiffuser {
  const { ptv3_config, action_config, loss_config, mini_batches, total_timesteps } = metadata(
    golden,
    "config",
  ) as ReleasedConfig;
  const sizes = { encDepths: ptv3_config.enc_depths, decDepths: ptv3_config.dec_depths };
  const policy = new MiniDiffuser(
    {
      ...sizes,
      compat: golden.metadata.mode as "released" | "fixed",
      encChannels: ptv3_config.enc_channels,
      encNumHeads: ptv3_config.enc_num_head,
      decChannels: ptv3_config.dec_channels,
      decNumHeads: ptv3_config.dec_num_head,
      patchSize: ptv3_config.enc_patch_size[0]!,
      contextDim: ptv3_config.ctx_channels,
      voxelSize: action_config.voxel_size,
      instructionDim: action_config.txt_ft_size,
      samples: mini_batches,
      numTrainTimesteps: total_timesteps,
      positionWeight: loss_config.pos_weight,
      rotationWeight: loss_config.rot_weight,
    },
    { generator: new Generator(0) },
  );
  const theirs = new Map<string, Tensor>();
  for (const name of golden.arrays.keys()) {
    if (name.startsWith("param.")) theirs.set(name.slice("param.".length), load(golden, name));
  }
  const { values, dropped } = releasedNames(sizes).rename(theirs, "ours");
  const { missing, unexpected } = policy.loadStateDict(values, { strict: false });
  const absent = missing.filter((name) => !name.endsWith("num_batches_tracked"));
  if (absent.length > 0) throw new Error(`parameters without a value in the file: ${absent.join(", ")}`);
  // What the released code has and never uses gets no gradient.
  const used = dropped.filter((name) => golden.arrays.has(`grad.${name}`) && norm(floats(golden, `grad.${name}`)) > 0);
  const lacking = [...unexpected, ...used];
  if (lacking.length > 0) throw new Error(`parameters of the file that the policy lacks: ${lacking.join(", ")}`);
  return policy;
}

function offsetsOf(counts: readonly number[]): Int32Array {
  const offsets = new Int32Array(counts.length + 1);
  counts.forEach((count, i) => (offsets[i + 1] = offsets[i]! + count));
  return offsets;
}

const integers = (golden: GoldenFile, name: string): number[] =>
  Array.from<number | bigint, number>(array(golden, name).data, Number);

function scenesOf(golden: GoldenFile, device: DeviceName): SceneTensors {
  const on = (name: string): Tensor => load(golden, name, undefined, device);
  const features = on("in.pc_fts");
  return {
    features,
    // Their voxels are found on the CPU.
    coordinates: load(golden, "in.pc_fts").narrow(1, 0, 3).contiguous(),
    counts: integers(golden, "in.npoints"),
    words: { tokens: on("in.txt_embeds"), offsets: offsetsOf(integers(golden, "in.txt_lens")) },
  };
}

function checkStep(golden: GoldenFile, policy: MiniDiffuser, device: DeviceName): void {
  const on = (name: string): Tensor => load(golden, name, undefined, device);
  const scenes = scenesOf(golden, device);
  const items = scenes.counts.length;
  const actions = on("in.gt_actions");
  const noise = on("rand.noise");
  const samples = noise.shape[0]! / items;
  const level2 = {
    size: noise.shape[0]!,
    noise,
    timesteps: load(golden, "rand.timesteps"),
    repeat: (x: Tensor): Tensor => x.unsqueeze(1).expand([items, samples, 3]).reshape([-1, 3]),
    meanLoss: (losses: Tensor): Tensor => mean(losses),
  };
  policy.train();
  const { loss, parts } = policy.lossOf(
    scenes,
    new Float32Array(3 * items),
    {
      positions: actions.narrow(1, 0, 3),
      rotationBins: actions.narrow(1, 3, 3).to("i32"),
      open: actions.narrow(1, 6, 1).flatten(),
    },
    { level2, jitter: on("rand.pos_condition").mul(0.01) },
  );
  loss.backward();
  const losses = { pos: parts.noise!, rot: parts.rotation!, open: parts.open!, total: loss };
  for (const [name, value] of Object.entries(losses)) compare(golden, `loss.${name}`, value.reshape([1]), LOSS);

  const names = releasedNames(sizesOf(golden));
  const whole = Math.hypot(
    ...[...golden.arrays]
      .filter(([name]) => name.startsWith("grad."))
      .map(([, { data }]) => norm(data as Float32Array)),
  );
  for (const [ours, parameter] of policy.namedParameters()) {
    const name = `grad.${names.toTheirs(ours)}`;
    const grad = parameter.grad;
    if (!golden.arrays.has(name)) throw new Error(`${name} is absent, expected the gradient of ${ours}`);
    if (!grad) throw new Error(`${name}: ${ours} got no gradient`);
    const expected = array(golden, name);
    if (String(grad.shape) !== String(expected.shape))
      throw new Error(`${name}: shape is [${grad.shape}], expected [${expected.shape}]`);
    const difference = distance(grad.toFlatArray(), expected.data as Float32Array);
    const limit = PARAMETER_GRADIENT * norm(expected.data as Float32Array) + ROUNDING * whole;
    if (!(difference <= limit))
      throw new Error(`${name}: ‖actual - expected‖ is ${difference}, expected at most ${limit}`);
  }
  for (const [ours, buffer] of policy.namedBuffers()) {
    const name = `after_step.${names.toTheirs(ours)}`;
    if (golden.arrays.has(name)) compare(golden, name, buffer, STATISTICS);
    else if (!ours.endsWith("num_batches_tracked")) throw new Error(`${name} is absent`);
  }
  policy.zeroGrad();
}

const floats = (golden: GoldenFile, name: string): Float32Array => array(golden, name).data as Float32Array;
const norm = (values: ArrayLike<number>): number => Math.hypot(...Array.from(values));
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.hypot(...Array.from(a, (value, i) => value - b[i]!));

function sizesOf(golden: GoldenFile): { encDepths: number[]; decDepths: number[] } {
  const { ptv3_config } = metadata(golden, "config") as ReleasedConfig;
  return { encDepths: ptv3_config.enc_depths, decDepths: ptv3_config.dec_depths };
}

// Each step from the file's own position before it, since a point may cross the border of a cell through rounding.
function checkSampling(golden: GoldenFile, policy: MiniDiffuser, device: DeviceName): void {
  const on = (name: string): Tensor => load(golden, name, undefined, device);
  policy.eval();
  const { total_timesteps } = metadata(golden, "config") as ReleasedConfig;
  const scheduler = new DDPMScheduler({
    numTrainTimesteps: total_timesteps,
    betaSchedule: "scaled_linear",
    clipSample: true,
    clipSampleRange: 1,
  });
  scheduler.setTimesteps(total_timesteps);
  noGrad(() => {
    const encoded = policy.network.encode(scenesOf(golden, device));
    const trajectory = on("sample.trajectory");
    const drawn = on("sample.step_noise");
    // The released code starts from zeros noised to the last timestep.
    const { remainingSignal } = policy;
    let position = on("sample.init_noise").mul(Math.sqrt(1 - remainingSignal ** 2));
    const items = position.shape[0]!;
    [...scheduler.timesteps].forEach((timestep, step) => {
      scope(() => {
        const timesteps = tensor(new Float32Array(items).fill(timestep));
        const predicted = policy.network.predict(encoded, position.unsqueeze(1), timesteps);
        const noise = step < drawn.shape[0]! ? drawn.narrow(0, step, 1).squeeze(0) : undefined;
        const { prevSample } = scheduler.step(predicted, timestep, position, { noise });
        const expected = trajectory.narrow(0, step, 1).toFlatArray();
        compareNumbers(`sample.trajectory[${step}]`, prevSample.toFlatArray(), expected, ACTIONS);
      });
      position = trajectory.narrow(0, step, 1).squeeze(0);
    });
    checkActions(golden, policy, encoded, position);
  });
}

// Actions are position, quaternion xyzw and the logit of an open gripper.
function checkActions(golden: GoldenFile, policy: MiniDiffuser, encoded: EncodedScenes, position: Tensor): void {
  const { rotation, open } = policy.network.pose(encoded, position.unsqueeze(1));
  const bins = argmax(rotation, { dim: -1 }).toFlatArray();
  const expected = load(golden, "sample.actions").toFlatArray();
  const positions = position.toFlatArray();
  open
    .flatten()
    .toFlatArray()
    .forEach((logit, item) => {
      const row = expected.slice(8 * item, 8 * item + 8);
      const quaternion = rotationBinsToQuaternion(bins.slice(3 * item, 3 * item + 3));
      // q and -q are one rotation.
      const sign = Math.sign(quaternion.reduce((dot, value, i) => dot + value * row[3 + i]!, 0));
      const actual = [...positions.slice(3 * item, 3 * item + 3), ...quaternion.map((value) => sign * value), logit];
      compareNumbers(`sample.actions of item ${item}`, actual, row, ACTIONS);
    });
}
