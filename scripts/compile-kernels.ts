// npm run build:kernels: compiles the data package's kernels.wat to kernels-wasm.ts.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import wabt from "wabt";

const folder = join(import.meta.dirname, "../packages/rlbench-data/src/png");
export const kernelsFile = join(folder, "kernels-wasm.ts");

/** The text of kernels-wasm.ts. */
export async function compileKernels(): Promise<string> {
  const { parseWat } = await wabt();
  const features = { simd: true, bulk_memory: true };
  const compiled = parseWat("kernels.wat", readFileSync(join(folder, "kernels.wat"), "utf8"), features);
  compiled.validate();
  const base64 = Buffer.from(compiled.toBinary({}).buffer).toString("base64");
  return `/** What \`npm run build:kernels\` makes of kernels.wat, in base64. */\nexport const KERNELS_WASM =\n  "${base64}";\n`;
}

if (process.argv[1] === import.meta.filename) writeFileSync(kernelsFile, await compileKernels());
