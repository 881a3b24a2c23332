import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compile } from "../compile.js";
import { type PeerCommand, PeerProcess } from "./peer-process.js";
import { torchMiniDiffuser } from "./torch-mini-diffuser.js";

/** How each peer is started with a number of threads, at its best. */
interface PeerSpec {
  name: string;
  howToGet: string;
  start(threads: number): Promise<PeerProcess>;
}

/** A peer that is not here, why, and how to get it. */
export interface AbsentPeer {
  name: string;
  why: string;
  howToGet: string;
}

const folder = import.meta.dirname;
const javascript = "npm run bench:peers:install";

const specs: readonly PeerSpec[] = [
  blas("openblas", ["-lopenblas"], "apt-get install libopenblas-dev"),
  blas("onednn", ["-ldnnl", "-fopenmp"], "apt-get install libdnnl-dev"),
  spec("torch", "apt-get install python3-torch libopenblas0", (threads) => ({
    command: "/usr/bin/python3",
    args: ["-B", join(folder, "torch_peer.py"), String(threads)],
  })),
  spec("pillow", "apt-get install python3-pil python3-numpy", (threads) => ({
    command: "/usr/bin/python3",
    args: ["-B", join(folder, "pillow_peer.py"), String(threads)],
  })),
  script("onnxruntime", "onnxruntime.mjs"),
  script("jax-js", "jax.mjs"),
  script("tfjs", "tensorflow.mjs"),
];

/** Starts every peer that is here, once for each number of threads that it can use. */
export async function startPeers(
  threadCounts: readonly number[],
): Promise<{ present: PeerProcess[]; absent: AbsentPeer[] }> {
  const present: PeerProcess[] = [];
  const absent: AbsentPeer[] = [];
  await Promise.all(
    specs.map(async ({ name, howToGet, start }) => {
      try {
        for (const threads of threadCounts) {
          const peer = await start(threads);
          // One that cannot use more threads is measured with those that it uses.
          if (peer.threads === threads) present.push(peer);
          else await peer.close();
        }
      } catch (error) {
        absent.push({ name, why: (error as Error).message, howToGet });
      }
    }),
  );
  const place = ({ name }: { name: string }): number => specs.findIndex((one) => one.name === name);
  present.sort((a, b) => place(a) - place(b) || a.threads - b.threads);
  absent.sort((a, b) => place(a) - place(b));
  return { present, absent };
}

function spec(
  name: string,
  howToGet: string,
  command: (threads: number) => Pick<PeerCommand, "command" | "args">,
): PeerSpec {
  return {
    name,
    howToGet,
    start: async (threads) =>
      PeerProcess.start({
        name,
        ...command(threads),
        env: environment(threads, name === "torch" ? passive : spinning),
      }),
  };
}

function blas(name: string, flags: readonly string[], howToGet: string): PeerSpec {
  let program = "";
  return spec(name, howToGet, (threads) => {
    program ||= compile(name, ["peers/blas/peer.c", `peers/blas/${name}.c`], flags);
    return { command: program, args: [String(threads)] };
  });
}

function script(name: string, file: string): PeerSpec {
  return spec(name, javascript, (threads) => ({
    command: process.execPath,
    args: ["--conditions", "@md/source", "--import", "tsx", join(folder, file), String(threads)],
  }));
}

// How idle threads wait. PyTorch's OpenMP threads would fight those of its BLAS, which spin for 0.1 s, because its next product
// comes within that; others spin for about a millisecond.
const passive = { OMP_WAIT_POLICY: "passive" };
const spinning = { GOMP_SPINCOUNT: "20000", OPENBLAS_THREAD_TIMEOUT: "21" };

/** What lets each library do its best; what the user has set stays. */
function environment(threads: number, waiting: Readonly<Record<string, string>>): Record<string, string> {
  const flags = processorFlags();
  const avx512 = ["avx512f", "avx512dq", "avx512bw", "avx512vl"].every((flag) => flags.has(flag));
  const best: Record<string, string> = {
    // Older ones fall back to SSE3 on a processor that they do not know.
    ...(avx512 ? { OPENBLAS_CORETYPE: "SkylakeX" } : flags.has("avx2") ? { OPENBLAS_CORETYPE: "Haswell" } : {}),
    // PyTorch's own choice may be AVX2.
    ...(avx512 ? { ATEN_CPU_CAPABILITY: "avx512" } : {}),
    // Fresh pages for every tensor cost PyTorch a good part of its time.
    MALLOC_TOP_PAD_: "1000000000",
    MALLOC_MMAP_THRESHOLD_: "4000000000",
    MALLOC_TRIM_THRESHOLD_: "4000000000",
    ...waiting,
  };
  const fixed = {
    OMP_NUM_THREADS: String(threads),
    OPENBLAS_NUM_THREADS: String(threads),
    MD_TORCH_MINI_DIFFUSER: torchMiniDiffuser,
  };
  return { ...Object.fromEntries(Object.entries(best).filter(([key]) => process.env[key] === undefined)), ...fixed };
}

function processorFlags(): Set<string> {
  try {
    const line = /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"));
    return new Set(line?.[1].trim().split(/\s+/));
  } catch {
    return new Set();
  }
}
