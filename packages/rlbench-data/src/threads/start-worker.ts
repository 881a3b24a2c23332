import { basename } from "node:path";
import { Worker } from "node:worker_threads";

/**
 * Starts a worker thread of this package.
 *
 * @param file below `src/`, without extension; its bundle in `dist/` has the last part as its name
 */
export function startWorker(file: string, workerData: unknown): Worker {
  if (!import.meta.url.endsWith(".ts"))
    return new Worker(new URL(`./${basename(file)}.js`, import.meta.url), { workerData });
  // From the sources a worker thread needs the loader of TypeScript, which it does not take over from this one.
  const [loader, source] = [import.meta.resolve("tsx/esm/api"), new URL(`../${file}.ts`, import.meta.url).href];
  const start = `import("${loader}").then(({ register }) => { register(); return import("${source}"); })`;
  return new Worker(start, { eval: true, workerData, execArgv: ["--conditions", "@md/source"] });
}
