import { delimiter } from "node:path";
import { ask } from "./ask.js";

const program = `
import glob, os, nvidia
print(next(os.path.dirname(f) for p in nvidia.__path__ for f in glob.glob(p + "/**/libcublas.so.*", recursive=True)))
`;

/**
 * Where the addon finds the cuBLAS that PyTorch brings along, which the loader knows nothing of: an LD_LIBRARY_PATH, or
 * nothing where there is none.
 */
export function pythonsCublas(): Record<string, string> {
  const { line } = ask("python3", "-c", program);
  if (line === null) return {};
  const { LD_LIBRARY_PATH: before } = process.env;
  return { LD_LIBRARY_PATH: before ? `${before}${delimiter}${line}` : line };
}
