import { ConfigKeyError, type DataStatistics, type Policy, type PolicyBatch, type PolicyFactory } from "@md/diffusion";
import { construct } from "@md/nn";
import { DeviceError, type DeviceName, Generator, noGrad, OutOfMemoryError, scope, TensorError } from "@md/tensor";
import type { TrainConfig } from "../config/schema.js";
import { ConfigError } from "../errors.js";

/**
 * The policy that a configuration asks for, with its first weights, on `device` (default "cpu"). It is tried on a batch, so that one that cannot train
 * on these data is found before anything is written.
 *
 * @throws ConfigError when the policy refuses its options or the batch, naming the option at fault where the policy
 *   does; OutOfMemoryError when it does not fit into memory; DeviceError
 */
export function createPolicy(
  factory: PolicyFactory,
  config: TrainConfig,
  statistics: DataStatistics,
  batch: PolicyBatch,
  device: DeviceName = "cpu",
): Policy {
  const random = new Generator(config.seed);
  const create = (): Policy =>
    construct(() => {
      const policy = factory.create(config.policy, statistics, random.fork("initialization"));
      policy.to(device);
      return policy;
    });
  try {
    tryLoss(create(), batch, random.fork("trial"));
    return create();
  } catch (error) {
    throw asConfigError(error, factory);
  }
}

// Of a policy that is not used further: in training mode a loss changes statistics and what generators draw next.
function tryLoss(policy: Policy, batch: PolicyBatch, generator: Generator): void {
  try {
    noGrad(() => scope(() => void policy.loss(batch, generator)));
  } finally {
    policy.dispose();
  }
}

function asConfigError(error: unknown, { name, defaults }: PolicyFactory): unknown {
  if (!(error instanceof TensorError) || error instanceof OutOfMemoryError || error instanceof DeviceError)
    return error;
  // What is no option comes from the data.
  if (error instanceof ConfigKeyError && Object.hasOwn(defaults, error.key))
    return new ConfigError(name, `policy.${error.key}`, error.problem, { cause: error });
  return new ConfigError(name, "policy", `cannot be used: ${error.message}`, { cause: error });
}
