import { cpSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { run } from "./command.js";
import { startRegistry, type PublishedPackage } from "./registry.js";

/** Copies the files that git tracks or would track, as they are now. */
async function copyWorkingTree(root: string, to: string): Promise<void> {
  const listed = await run("git", ["ls-files", "--cached", "--others", "--exclude-standard", "-z"], { cwd: root });
  for (const file of new Set(listed.split("\0"))) {
    if (file === "" || !existsSync(join(root, file))) continue;
    mkdirSync(dirname(join(to, file)), { recursive: true });
    cpSync(join(root, file), join(to, file));
  }
}

/**
 * Releases the working tree from a copy of it in `folder`: `npm ci`, `lerna version patch`, `lerna publish`, the latter
 * to a registry on this machine. Gives what was published, by name.
 */
export async function rehearseRelease(root: string, folder: string): Promise<Map<string, PublishedPackage>> {
  await copyWorkingTree(root, folder);
  const author = { GIT_AUTHOR_NAME: "release", GIT_AUTHOR_EMAIL: "release@localhost" };
  const committer = { GIT_COMMITTER_NAME: "release", GIT_COMMITTER_EMAIL: "release@localhost" };
  const options = { cwd: folder, env: { ...author, ...committer } };
  await run("git", ["init", "--quiet", "--initial-branch", "main"], options);
  await run("git", ["add", "--all"], options);
  await run("git", ["commit", "--quiet", "--message", "Release"], options);
  await run("npm", ["ci"], options);
  await run("npx", ["lerna", "version", "patch", "--yes", "--no-push", "--force-publish"], options);

  const registry = await startRegistry();
  try {
    // A configuration of its own: no other registry is named, and no one's credentials are read.
    const userConfig = join(dirname(folder), "publish.npmrc");
    const address = registry.url.replace(/^http:/, "");
    writeFileSync(userConfig, `registry=${registry.url}\n${address}:_authToken=rehearsal\n`);
    const env = { ...options.env, npm_config_userconfig: userConfig, npm_config_registry: registry.url };
    const publish = ["lerna", "publish", "from-package", "--yes", "--registry", registry.url];
    await run("npx", publish, { cwd: folder, env });
  } finally {
    registry.close();
  }
  return registry.published;
}
