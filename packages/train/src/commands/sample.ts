import { collate, DataError, rotationBinsToQuaternion } from "@md/rlbench-data";
import type { Command } from "commander";
import { Checkpoint } from "../checkpoint/checkpoint.js";
import { listEpisodes, loadDataset } from "../data.js";
import { drawCandidates, quaternionAt } from "../evaluate/predict.js";
import {
  dataSource,
  deviceHelp,
  parseDevice,
  parseInteger,
  parseNumber,
  solverHelp,
  solverOptions,
} from "./options.js";

interface SampleFlags {
  checkpoint: string;
  model?: string;
  data: string;
  task: string;
  episode: string;
  keyPose: string;
  candidates: string;
  turn: string;
  solver?: string;
  steps?: string;
  shift?: string;
  seed: string;
  device?: string;
}

/** `minidiff sample`. */
export function addSample(program: Command): void {
  program
    .command("sample")
    .description("draw candidate actions for one observation, as JSON")
    .requiredOption("--checkpoint <run>", "folder of a run, or checkpoint file")
    .option("--model <file>", "module file of a policy that is not registered; it is run")
    .requiredOption("--data <dir>", "folder of demonstrations")
    .requiredOption("--task <name>", "task of the episode")
    .option("--episode <number>", "episode of the observation", "0")
    .option("--key-pose <number>", "which key pose comes next, from 0", "0")
    .option("--candidates <count>", "actions to draw", "16")
    .option("--turn <degrees>", "turn the scene about z", "0")
    .option("--solver <name>", solverHelp)
    .option("--steps <count>", "denoising steps")
    .option("--shift <factor>", "of euler and heun: over 1 puts more steps where there is more noise")
    .option("--seed <seed>", "seed of the candidates", "0")
    .option("--device <name>", deviceHelp)
    .action(run);
}

async function run(flags: SampleFlags): Promise<void> {
  const episode = parseInteger("--episode", flags.episode, 0);
  const keyPose = parseInteger("--key-pose", flags.keyPose, 0);
  const seed = parseInteger("--seed", flags.seed, 0);
  const options = {
    samples: parseInteger("--candidates", flags.candidates, 1),
    ...solverOptions(flags),
    seed,
  };
  const device = parseDevice(flags.device);
  const turn = parseNumber("--turn", flags.turn);
  using checkpoint = new Checkpoint(flags.checkpoint);
  const { data } = checkpoint.metadata.config;
  const episodes = listEpisodes(dataSource(flags.data, flags.task, String(episode)));
  const dataset = await loadDataset(episodes, data, { keyPosesOnly: true });
  const index = dataset.samples.findIndex(({ keyPoseIndex }) => keyPoseIndex === keyPose);
  if (index < 0) throw new DataError(episodes[0]!.id, `has no key pose ${keyPose}, only ${dataset.samples.length}`);
  const batch = collate(dataset, [index], { seed, points: data.points, sampling: data.sampling, turn });
  const policy = await checkpoint.loadPolicy({ model: flags.model, device });
  const drawn = drawCandidates(policy, batch, options);
  policy.dispose();
  const { task, frame, instructions } = dataset.samples[index]!;
  const target = {
    position: Array.from(batch.targetPosition),
    quaternion: Array.from(batch.targetQuaternion),
    open: batch.targetOpen[0],
  };
  const candidates = Array.from({ length: drawn.candidates * drawn.horizon }, (_, at) => {
    const rotationBins = Array.from(drawn.rotationBins.subarray(3 * at, 3 * at + 3));
    return {
      position: Array.from(drawn.position.subarray(3 * at, 3 * at + 3)),
      quaternion: drawn.quaternion ? quaternionAt(drawn.quaternion, at) : rotationBinsToQuaternion(rotationBins),
      rotationBins,
      open: drawn.open[at],
    };
  });
  const { id } = episodes[0]!;
  console.log(
    JSON.stringify(
      { task, episode: id, frame, keyPose, turn, instruction: instructions.texts[0], target, candidates },
      null,
      2,
    ),
  );
}
