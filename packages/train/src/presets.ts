import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

// As far from src/ as from dist/.
const folder = fileURLToPath(new URL("../presets/", import.meta.url));

/** Names of the presets that this package ships. */
export const presetNames = (): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".yaml"))
    .map((name) => name.slice(0, -".yaml".length))
    .sort();

/** File of a preset. */
export const presetFile = (name: string): string => `${folder}${name}.yaml`;
