import { getPolicy, importPolicy, type PolicyFactory } from "@md/diffusion";
import { ValueError } from "@md/tensor";

/**
 * The policy of a run. Configurations and checkpoints name registered policies only: no file makes us run another one.
 *
 * @param recorded name in the configuration or checkpoint
 * @param model what the user named instead: a registered policy, or a module file, which is run
 * @throws ValueError when there is no such policy
 */
export async function findPolicy(recorded: string, model?: string): Promise<PolicyFactory> {
  const isFile = (name: string): boolean => /\.(m?js|ts)$/.test(name);
  if (model !== undefined && isFile(model)) return importPolicy(model);
  if (model === undefined && isFile(recorded))
    throw new ValueError(`model "${recorded}" is a module file, which is run only if it is named with --model`);
  return getPolicy(model ?? recorded);
}
