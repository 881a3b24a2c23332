import type { PolicyFactory } from "@md/diffusion";
import { type DeviceName, synchronize } from "@md/tensor";
import { type ConfigLayer, resolveModel, resolveRun } from "../config/resolve.js";
import type { TrainConfig } from "../config/schema.js";
import { ConfigError } from "../errors.js";
import { findPolicy } from "../find-policy.js";

/**
 * The configuration of a new run, the factory of its policy, and the device to train on.
 *
 * @param options.layers configuration by rising precedence
 * @param options.model registered policy or module file over what the layers say; the only way to name a file
 * @throws ConfigError; DeviceError that says why there is no such device
 */
export async function configureRun(options: {
  layers: readonly ConfigLayer[];
  model?: string;
}): Promise<{ factory: PolicyFactory; config: TrainConfig; device: DeviceName }> {
  const { model } = options;
  const layers = [...options.layers, ...(model === undefined ? [] : [{ source: "model", values: { model } }])];
  const factory = await findPolicy(resolveModel(layers), model).catch((error: unknown) => {
    throw new ConfigError("model", "", error instanceof Error ? error.message : String(error));
  });
  const { config, device } = resolveRun(layers, factory.defaults);
  if (config.training.steps === null && config.training.maxMinutes === null) {
    throw new ConfigError("training", "", "has no end: set training.steps, training.maxMinutes, or both");
  }
  synchronize(device);
  return { factory, config, device };
}
