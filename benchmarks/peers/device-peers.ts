import { join } from "node:path";
import type { DeviceName } from "@md/tensor";
import type { BenchDType } from "../options.js";
import { PeerProcess } from "./peer-process.js";
import type { AbsentPeer } from "./registry.js";
import { torchMiniDiffuser } from "./torch-mini-diffuser.js";

/**
 * PyTorch on a CUDA device, eager and, where `compiled`, by torch.compile too: of the first `python3` on PATH, since a GPU
 * machine has it there.
 */
export async function startDevicePeers({
  device,
  dtype,
  compile: compiled,
  torchPeer = join(import.meta.dirname, "torch_peer.py"),
}: {
  device: DeviceName;
  dtype: BenchDType;
  compile: boolean;
  torchPeer?: string;
}): Promise<{ present: PeerProcess[]; absent: AbsentPeer[] }> {
  const present: PeerProcess[] = [];
  const absent: AbsentPeer[] = [];
  for (const more of compiled ? [[], ["compile"]] : [[]]) {
    const name = more.length > 0 ? "torch.compile" : "torch";
    const args = ["-B", torchPeer, "1", device, dtype, ...more];
    const env = { MD_TORCH_MINI_DIFFUSER: torchMiniDiffuser };
    try {
      present.push(await PeerProcess.start({ name, command: "python3", args, env }));
    } catch (error) {
      absent.push({
        name,
        why: (error as Error).message,
        howToGet: "PyTorch with CUDA, for the first python3 on PATH",
      });
    }
  }
  return { present, absent };
}
