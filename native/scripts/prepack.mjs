// Brings the addon up to date and copies it to where a published package keeps the binary of this platform.
import { spawnSync } from "node:child_process";
import { cpSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
// What the build prints must not end up in the JSON that `npm pack --json` prints.
const build = spawnSync(process.execPath, [join(root, "scripts", "build.mjs")], { stdio: ["ignore", 2, 2] });
if (build.status !== 0) process.exit(build.status ?? 1);
cpSync(
  join(root, "build", "Release", "md_native.node"),
  join(root, "prebuilds", `${process.platform}-${process.arch}`, "md_native.node"),
);
