import { ConfigKeyError, type DataStatistics, type Policy, type PolicyFactory } from "@md/diffusion";
import { construct } from "@md/nn";
import { Generator, OutOfMemoryError, TensorError } from "@md/tensor";
import type { TrainConfig } from "../config/schema.js";
import { ConfigError } from "../errors.js";

/**
 * The policy that a configuration asks for, with its first weights.
 *
 * @throws ConfigError when the policy refuses its options, naming the one at fault where the policy does;
 *   OutOfMemoryError when it does not fit into memory
 */
export function createPolicy(factory: PolicyFactory, config: TrainConfig, statistics: DataStatistics): Policy {
  const generator = new Generator(config.seed).fork("initialization");
  try {
    return construct(() => factory.create(config.policy, statistics, generator));
  } catch (error) {
    throw asConfigError(error, factory);
  }
}

function asConfigError(error: unknown, { name, defaults }: PolicyFactory): unknown {
  if (!(error instanceof TensorError) || error instanceof OutOfMemoryError) return error;
  // What is no option comes from the data.
  if (error instanceof ConfigKeyError && Object.hasOwn(defaults, error.key))
    return new ConfigError(name, `policy.${error.key}`, error.problem, { cause: error });
  return new ConfigError(name, "policy", `cannot be used: ${error.message}`, { cause: error });
}
