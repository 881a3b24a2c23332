import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ValueError } from "@md/tensor";
import { closest } from "fastest-levenshtein";
import { diffuserActor } from "./diffuser-actor/diffuser-actor.js";
import { miniDiffuser } from "./mini-diffuser/mini-diffuser.js";
import { miniDiffuserLight } from "./light/mini-diffuser-light.js";
import type { PolicyFactory } from "./policy.js";

const factories = new Map<string, PolicyFactory>();

/** Makes a policy known by its name. ValueError if the name is taken. */
export function registerPolicy(factory: PolicyFactory): void {
  if (factories.has(factory.name)) throw new ValueError(`[registerPolicy] "${factory.name}" is registered already`);
  factories.set(factory.name, factory);
}

registerPolicy(miniDiffuserLight);
registerPolicy(miniDiffuser);
registerPolicy(diffuserActor);

/** Names of all registered policies. */
export const policyNames = (): string[] => [...factories.keys()];

/** The factory of a registered name. Runs no code, whatever the name. ValueError for an unknown one. */
export function getPolicy(name: string): PolicyFactory {
  const known = factories.get(name);
  if (known) return known;
  throw new ValueError(`[getPolicy] unknown policy "${name}", did you mean "${closest(name, policyNames())}"?`);
}

/**
 * The policy factory that a JavaScript module has as its default export. Runs the module: `file` must come from someone
 * who may run code here, never out of a data file or checkpoint. ValueError for a file that is absent or has no policy
 * factory.
 */
export async function importPolicy(file: string): Promise<PolicyFactory> {
  const path = resolve(file);
  if (!existsSync(path)) throw new ValueError(`[importPolicy] ${file} does not exist`);
  const module = (await import(pathToFileURL(path).href)) as { default?: Partial<PolicyFactory> };
  const factory = module.default;
  if (
    typeof factory?.create !== "function" ||
    typeof factory.fromConfig !== "function" ||
    typeof factory.name !== "string"
  ) {
    throw new ValueError(`[importPolicy] ${file} has no policy factory as its default export`);
  }
  return factory as PolicyFactory;
}
