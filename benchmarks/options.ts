import type { DeviceName } from "@md/tensor";
import { parseArgs } from "node:util";

export interface Options {
  suite: string | null;
  filter: RegExp;
  json: boolean;
  peers: boolean;
  help: boolean;
  device: DeviceName;
  /** What inputs are given in, or what policies compute in by mixed precision. */
  dtype: BenchDType;
  compile: boolean;
}

export const benchDTypes = ["f32", "bf16"] as const;
export type BenchDType = (typeof benchDTypes)[number];

/** What the user typed that means nothing to us. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export const usage = (suites: readonly string[]): string => `npm run bench [-- OPTIONS]

  --suite NAME   one suite alone: ${suites.join(", ")}
  --filter RE    cases alone whose name matches this regular expression
  --peers        measure the peers that are here in turn with us; without it, us alone
  --device NAME  cpu (default), cuda or cuda:<index>: inputs lie there, and PyTorch is the peer there
  --dtype NAME   f32 (default) or bf16; bf16 on a CUDA device alone
  --compile      with --peers on a CUDA device: torch.compile too, beside eager PyTorch
  --json         JSON lines instead of tables
  --help         this text

npm run bench:peers:install installs the peers in JavaScript. Charts are in benchmarks/report.html afterwards.
`;

/** UsageError for an unknown flag, suite, device or dtype, for flags that do not go together, and for a bad filter. */
export function parseOptions(args: readonly string[], suites: readonly string[]): Options {
  const values = parse(args);
  const { suite = null, filter = "", json = false, peers = false, help = false, compile = false } = values;
  const device = deviceNamed(values.device ?? "cpu");
  const dtype = benchDTypes.find((name) => name === (values.dtype ?? "f32"));
  if (suite !== null && !suites.includes(suite))
    throw new UsageError(`--suite is "${suite}", expected one of ${suites.join(", ")}`);
  if (!dtype) throw new UsageError(`--dtype is "${values.dtype}", expected one of ${benchDTypes.join(", ")}`);
  if (device === "cpu" && dtype !== "f32") throw new UsageError(`--dtype ${dtype} needs --device cuda`);
  if (compile && (device === "cpu" || !peers)) throw new UsageError("--compile needs --device cuda and --peers");
  try {
    return { suite, filter: new RegExp(filter), json, peers, help, device, dtype, compile };
  } catch (error) {
    throw new UsageError(`--filter: ${(error as Error).message}`);
  }
}

function deviceNamed(name: string): DeviceName {
  if (!/^(cpu|cuda(:\d{1,4})?)$/.test(name))
    throw new UsageError(`--device is "${name}", expected cpu, cuda or cuda:<index>`);
  return name as DeviceName;
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        suite: { type: "string" },
        filter: { type: "string" },
        json: { type: "boolean" },
        peers: { type: "boolean" },
        help: { type: "boolean" },
        device: { type: "string" },
        dtype: { type: "string" },
        compile: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
