import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

// As far from src/ as from dist/.
const folder = fileURLToPath(new URL("../pages/", import.meta.url));

/** Text of a script that pages carry within themselves. */
export const pageScript = (name: string): string => readFileSync(`${folder}${name}.js`, "utf8");
