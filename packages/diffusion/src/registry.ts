import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ValueError } from "@md/tensor";
import { closest } from "fastest-levenshtein";
import { miniDiffuserLight } from "./light/mini-diffuser-light.js";
import type { PolicyFactory } from "./policy.js";

const factories = new Map<string, PolicyFactory>();

/** Makes a policy known by its name. ValueError if the name is taken. */
export function registerPolicy(factory: PolicyFactory): void {
  if (factories.has(factory.name)) throw new ValueError(`[registerPolicy] "${factory.name}" is registered already`);
  factories.set(factory.name, factory);
}

registerPolicy(miniDiffuserLight);

/** Names of all registered policies. */
export const policyNames = (): string[] => [...factories.keys()];

/**
 * The factory of a registered name, or the default export of a JavaScript module (a path that ends in .js, .mjs or
 * .ts). ValueError for an unknown name, or a module without a policy factory.
 */
export async function getPolicy(nameOrFile: string): Promise<PolicyFactory> {
  const known = factories.get(nameOrFile);
  if (known) return known;
  if (!/\.(m?js|ts)$/.test(nameOrFile)) {
    throw new ValueError(
      `[getPolicy] unknown policy "${nameOrFile}", did you mean "${closest(nameOrFile, policyNames())}"?`,
    );
  }
  const module = (await import(pathToFileURL(resolve(nameOrFile)).href)) as { default?: Partial<PolicyFactory> };
  const factory = module.default;
  if (
    typeof factory?.create !== "function" ||
    typeof factory.fromConfig !== "function" ||
    typeof factory.name !== "string"
  ) {
    throw new ValueError(`[getPolicy] ${nameOrFile} has no policy factory as its default export`);
  }
  return factory as PolicyFactory;
}
