import { join } from "node:path";
import { build } from "tsup";

/** `check.mjs` in `folder`: what the runner imports, in one file; the addon is found by MD_NATIVE_BINARY. */
export const bundleCheck = (folder: string): Promise<void> =>
  build({
    config: false,
    entry: { check: join(import.meta.dirname, "runner", "main.ts") },
    outDir: folder,
    format: "esm",
    outExtension: () => ({ js: ".mjs" }),
    target: "node20",
    noExternal: [/.*/],
    splitting: false,
    silent: true,
    // CommonJS packages in the bundle ask for Node's own modules.
    banner: {
      js: 'import { createRequire as $require } from "node:module"; const require = $require(import.meta.url);',
    },
    esbuildOptions(options) {
      options.conditions = ["@md/source"];
    },
  });
