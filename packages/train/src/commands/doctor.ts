import { createRequire } from "node:module";
import { cudaInfo, getNumThreads, isa, isas, memory } from "@md/tensor";
import type { Command } from "commander";

/** What `minidiff doctor` reports, and prints with `--json`. */
export interface Diagnosis {
  minidiff: string;
  node: string;
  platform: string;
  cpu: { isa: string; available: string[]; threads: number; memoryBytes: number };
  cuda: {
    /** What the kernels in this binary were compiled for; null where there are none. */
    compiledFor: string | null;
    emulated: boolean;
    /** The library found at run time, or why there is none; null without kernels. */
    cublas: string | null;
    /** Whether sorts and scans are CUB's; null without kernels. */
    cub: boolean | null;
    /** What has kernels for tensor cores; null without kernels. */
    tensorCores: { ops: readonly string[]; dtypes: readonly string[]; computeCapability: string } | null;
    /** "13.0"; null where there is none. */
    driver: string | null;
    runtime: string | null;
    /** `tensorCores`: whether those kernels run there. */
    devices: { name: string; computeCapability: string; memoryBytes: number; tensorCores: boolean }[];
    /** Why there is no device; null where there is one. */
    off: string | null;
    /** What has not been seen to work; null without kernels. */
    unproven: string | null;
  };
  /** Variables of the environment that change what runs. */
  settings: Record<string, string>;
}

/** What `planCuda` of these ops chooses between; the same on every device of at least that compute capability. */
const tensorCores = {
  ops: ["matmul", "linear", "maskedAttention", "submConv3d", "localKernelQuery"],
  dtypes: ["f16", "bf16"],
  computeCapability: "8.0",
};
const unproven = "no kernel has run on a GPU yet: they pass their tests under emulation alone (scripts/gpu/check)";
const variables = ["MD_ISA", "MD_SYNC", "MD_CUBLAS", "MD_CUDA_GRAPHS"];

/** `minidiff doctor`. */
export function addDoctor(program: Command): void {
  program
    .command("doctor")
    .description("show devices, versions and instruction sets, and why something is off")
    .option("--json", "print it as JSON")
    .action(({ json }: { json?: boolean }) => {
      const diagnosis = diagnose();
      console.log(json ? JSON.stringify(diagnosis, null, 2) : describe(diagnosis));
    });
}

function diagnose(): Diagnosis {
  const { version } = createRequire(import.meta.url)("@md/train/package.json") as { version: string };
  const cuda = cudaInfo();
  return {
    minidiff: version,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpu: { isa: isa(), available: isas(), threads: getNumThreads(), memoryBytes: memory().limitBytes },
    cuda: {
      compiledFor: cuda.compiled ? cuda.architectures : null,
      emulated: cuda.emulated,
      cublas: cuda.compiled ? cuda.cublas : null,
      cub: cuda.compiled ? cuda.cub : null,
      tensorCores: cuda.compiled ? tensorCores : null,
      driver: cudaVersion(cuda.driver),
      runtime: cudaVersion(cuda.runtime),
      devices: cuda.devices.map(({ name, major, minor, totalBytes, matrixUnits }) => ({
        name,
        computeCapability: `${major}.${minor}`,
        memoryBytes: totalBytes,
        tensorCores: matrixUnits,
      })),
      off: cuda.reason === "" ? null : cuda.reason,
      unproven: cuda.compiled ? unproven : null,
    },
    settings: Object.fromEntries(variables.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : []))),
  };
}

const cudaVersion = (code: number): string | null =>
  code === 0 ? null : `${Math.floor(code / 1000)}.${Math.floor((code % 1000) / 10)}`;

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

function describe({ minidiff, node, platform, cpu, cuda, settings }: Diagnosis): string {
  const rows: [string, string][] = [
    ["minidiff", `${minidiff}, node ${node}, ${platform}`],
    ["cpu", `${cpu.isa} (of ${cpu.available.join(", ")}), ${cpu.threads} threads, ${gibibytes(cpu.memoryBytes)}`],
    ["cuda kernels", cuda.compiledFor === null ? "not compiled in" : `compiled for ${cuda.compiledFor}`],
    ["cuda runtime", cuda.runtime ?? "none"],
    ["cuda driver", cuda.driver === null ? "none" : `up to CUDA ${cuda.driver}`],
    ["cublas", cuda.cublas ?? "not looked for"],
    ["cub", cuda.cub === null ? "not looked for" : cuda.cub ? "compiled in" : "not in this build"],
    ["tensor cores", describeTensorCores(cuda)],
    ...cuda.devices.map(({ name, computeCapability, memoryBytes, tensorCores }, i): [string, string] => [
      `cuda:${i}`,
      `${name}, compute capability ${computeCapability}, ${gibibytes(memoryBytes)}, ${tensorCores ? "with" : "without"} tensor cores`,
    ]),
  ];
  if (cuda.unproven !== null) rows.push(["not proven", cuda.unproven]);
  const set = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  if (set.length > 0) rows.push(["settings", set.join(", ")]);
  if (cuda.off !== null) rows.push(["cuda is off", cuda.off]);
  return rows.map(([name, value]) => `${name.padEnd(14)}${value}`).join("\n");
}

function describeTensorCores({ tensorCores, compiledFor }: Diagnosis["cuda"]): string {
  if (tensorCores === null) return "not compiled in";
  const { ops, dtypes, computeCapability } = tensorCores;
  return `${dtypes.join(" and ")} in ${ops.join(", ")}: compiled for ${compiledFor}, from compute capability ${computeCapability}`;
}
