import type { PolicyFactory } from "@md/diffusion";
import { type ConfigLayer, resolveConfig, resolveModel } from "../config/resolve.js";
import type { TrainConfig } from "../config/schema.js";
import { ConfigError } from "../errors.js";
import { findPolicy } from "../find-policy.js";

/**
 * The configuration of a new run, and the factory of its policy.
 *
 * @param options.layers configuration by rising precedence
 * @param options.model registered policy or module file over what the layers say; the only way to name a file
 * @throws ConfigError
 */
export async function configureRun(options: {
  layers: readonly ConfigLayer[];
  model?: string;
}): Promise<{ factory: PolicyFactory; config: TrainConfig }> {
  const { model } = options;
  const layers = [...options.layers, ...(model === undefined ? [] : [{ source: "model", values: { model } }])];
  const factory = await findPolicy(resolveModel(layers), model).catch((error: unknown) => {
    throw new ConfigError("model", "", error instanceof Error ? error.message : String(error));
  });
  const config = resolveConfig(layers, factory.defaults);
  if (config.training.steps === null && config.training.maxMinutes === null) {
    throw new ConfigError("training", "", "has no end: set training.steps, training.maxMinutes, or both");
  }
  return { factory, config };
}
