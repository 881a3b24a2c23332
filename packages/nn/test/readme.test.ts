import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";

it("runs the first example of the README", async () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const example = /```js\n([\s\S]*?)```/.exec(readme)?.[1];
  expect(example).toBeDefined();
  const folder = mkdtempSync(join(tmpdir(), "md-nn-readme-"));
  // In this package, so that its imports are found; the file that it writes goes elsewhere.
  const file = new URL(`readme-example-${process.pid}.mjs`, import.meta.url);
  const weights = join(folder, "regressor.safetensors");
  writeFileSync(file, example!.replaceAll("regressor.safetensors", weights));
  const log = vi.spyOn(console, "log").mockImplementation(() => undefined);
  try {
    await import(/* @vite-ignore */ file.href);
    const [summary] = log.mock.calls[0] as [string];
    expect(Number(/loss (\S+)$/.exec(summary)?.[1])).toBeLessThan(0.05);
    expect((log.mock.calls[1] as [string[]])[0]).toContain("body.layers.0.weight");
    expect(existsSync(weights)).toBe(true);
  } finally {
    log.mockRestore();
    rmSync(file);
    rmSync(folder, { recursive: true });
  }
});
