// Loads the addon: the file that MD_NATIVE_BINARY names, else one built from these sources, else the packaged binary of
// this platform.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeError, UnsupportedError } from "./errors.js";

export * from "./errors.js";

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);

/** Tries each file in turn; the error of the last resort lists what failed and the one command that helps. */
function load() {
  const named = process.env.MD_NATIVE_BINARY;
  const candidates = named
    ? [named]
    : [
        join(here, "build", "Release", "md_native.node"),
        join(here, "prebuilds", `${process.platform}-${process.arch}`, "md_native.node"),
      ];
  const failures = [];
  for (const file of candidates) {
    try {
      return require(file);
    } catch (error) {
      failures.push(`  ${file}: ${String(error.message).split("\n")[0]}`);
    }
  }
  throw new UnsupportedError(
    `[@md/native] no binary for ${process.platform}-${process.arch} could be loaded:\n${failures.join("\n")}\n` +
      `Build one (needs CMake and a C++20 compiler): npm explore @md/native -- npm run build`,
  );
}

const addon = load();
addon.setErrorFactory(makeError);

export const native = addon;
