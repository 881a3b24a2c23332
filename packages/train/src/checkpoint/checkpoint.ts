import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Policy, PolicyFactory } from "@md/diffusion";
import { construct, SafetensorsError, SafetensorsFile, type StateDict, writeSafetensors } from "@md/nn";
import { type DeviceName, Generator, scope, tensor } from "@md/tensor";
import { CheckpointError } from "../errors.js";
import { findPolicy } from "../find-policy.js";
import type { Trainer } from "../trainer.js";
import { CHECKPOINT_FORMAT, type CheckpointMetadata, METADATA_KEY, parseMetadata } from "./metadata.js";

const FILE = "checkpoint.safetensors";

/** Whether a run's folder has a checkpoint. */
export const hasCheckpoint = (run: string): boolean => existsSync(join(run, FILE));

/** File of a checkpoint that is named by its run's folder or by itself. */
export function checkpointFile(runOrFile: string): string {
  const isFolder = statSync(runOrFile, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const file = isFolder || !runOrFile.endsWith(".safetensors") ? join(runOrFile, FILE) : runOrFile;
  if (!existsSync(file)) throw new CheckpointError(file, "does not exist");
  return file;
}

/** What a run adds to the trainer's state in its checkpoints. */
export type RunMetadata = Pick<CheckpointMetadata, "policy" | "statistics" | "config" | "trainedOn">;

/**
 * Writes `RUN/checkpoint.safetensors`: weights, averaged weights, optimiser and generator state, counters and all that
 * rebuilds the policy. The file is written beside the old one, flushed to the disk, then renamed, so that a kill at any
 * moment leaves the one or the other.
 */
export function saveCheckpoint(run: string, trainer: Trainer, metadata: RunMetadata): void {
  mkdirSync(run, { recursive: true });
  const file = join(run, FILE);
  removeLeftovers(file);
  const content: CheckpointMetadata = {
    format: CHECKPOINT_FORMAT,
    step: trainer.step,
    elapsedSeconds: trainer.elapsedSeconds,
    generator: trainer.generator.state,
    scaler: trainer.scaler?.state ?? null,
    ...metadata,
  };
  scope(() => {
    const tensors: StateDict = new Map([
      ...prefixed("model", trainer.policy.stateDict()),
      ...prefixed("ema", trainer.ema?.stateDict() ?? new Map()),
      ...prefixed("optimizer", trainer.optimizer.stateDict()),
    ]);
    writeSafetensors(file, tensors, { [METADATA_KEY]: JSON.stringify(content) });
  });
}

// Parts of checkpoints that a kill interrupted.
function removeLeftovers(file: string): void {
  for (const name of readdirSync(dirname(file))) {
    if (name.startsWith(`${basename(file)}.`) && name.endsWith(".tmp"))
      rmSync(join(dirname(file), name), { force: true });
  }
}

/** An open checkpoint; metadata are read and checked at once, tensors when they are asked for. */
export class Checkpoint {
  readonly metadata: CheckpointMetadata;
  private readonly content: SafetensorsFile;

  /**
   * @param runOrFile folder of a run, or the file
   * @throws CheckpointError when it is absent, damaged or of another kind
   */
  constructor(runOrFile: string) {
    const file = checkpointFile(runOrFile);
    this.content = naming(file, () => new SafetensorsFile(file));
    try {
      this.metadata = parseMetadata(file, this.content.header.metadata);
    } catch (error) {
      this.content.close();
      throw error;
    }
  }

  get file(): string {
    return this.content.path;
  }

  /** Whether it has averaged weights. */
  get hasEma(): boolean {
    return [...this.content.header.entries.keys()].some((name) => name.startsWith("ema."));
  }

  /**
   * Factory of the saved policy.
   *
   * @param model module file of the policy, where it is none of the registered ones; it is run
   * @throws CheckpointError when it is neither registered nor given
   */
  async findPolicy(model?: string): Promise<PolicyFactory> {
    try {
      return await findPolicy(this.metadata.policy.name, model);
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      throw new CheckpointError(this.file, `needs a policy that cannot be had: ${problem}`, { cause: error });
    }
  }

  /**
   * The policy as it was saved.
   *
   * @param options.weights "ema" takes the averaged weights, with their averaged batch statistics, where there are some.
   *   Default "ema".
   * @param options.model as in {@link findPolicy}
   * @param options.device where to put it; a checkpoint does not say where it was trained. Default "cpu"
   * @throws CheckpointError when the policy cannot be had, or the tensors do not fit it; DeviceError
   */
  async loadPolicy(options: { weights?: "ema" | "model"; model?: string; device?: DeviceName } = {}): Promise<Policy> {
    const { weights = "ema", model, device = "cpu" } = options;
    const { name, config } = this.metadata.policy;
    const factory = await this.findPolicy(model);
    const policy = naming(this.file, () => construct(() => factory.fromConfig(config, new Generator(0))));
    try {
      if (!isDeepStrictEqual(policy.config, config))
        throw new CheckpointError(this.file, `metadata.policy.config is not a whole configuration of ${name}`);
      this.restoreModule(policy, "model");
      if (weights === "ema" && this.hasEma) this.restoreModule(policy, "ema");
      policy.to(device);
      return policy;
    } catch (error) {
      policy.dispose();
      throw error;
    }
  }

  /** Puts the state of the saved run into a trainer of the same policy and configuration. */
  restore(trainer: Trainer): void {
    this.restoreModule(trainer.policy, "model");
    naming(this.file, () => {
      scope(() => {
        trainer.optimizer.loadStateDict(this.read("optimizer"));
        trainer.ema?.loadStateDict(this.read("ema"));
      });
      trainer.generator.state = this.metadata.generator;
      if (trainer.scaler) {
        if (!this.metadata.scaler) throw new CheckpointError(this.file, "metadata.scaler is no section");
        trainer.scaler.state = this.metadata.scaler;
      }
    });
    trainer.step = this.metadata.step;
    trainer.elapsedSeconds = this.metadata.elapsedSeconds;
  }

  private restoreModule(policy: Policy, prefix: string): void {
    naming(this.file, () => scope(() => void policy.loadStateDict(this.read(prefix))));
  }

  // Tensors under `prefix.`, without it, in the current scope.
  private read(prefix: string): StateDict {
    const found: StateDict = new Map();
    for (const name of this.content.header.entries.keys()) {
      if (!name.startsWith(`${prefix}.`)) continue;
      const { data, shape, dtype } = this.content.read(name);
      found.set(name.slice(prefix.length + 1), tensor(data, { shape, dtype }));
    }
    return found;
  }

  close(): void {
    this.content.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

const prefixed = (prefix: string, dict: StateDict): StateDict =>
  new Map([...dict].map(([name, value]) => [`${prefix}.${name}`, value]));

// Failures of reading and loading as errors that name the checkpoint.
function naming<T>(file: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const problem = error instanceof SafetensorsError ? error.message.replace(`${file}: `, "") : error.message;
    throw new CheckpointError(file, `cannot be loaded: ${problem}`, { cause: error });
  }
}
