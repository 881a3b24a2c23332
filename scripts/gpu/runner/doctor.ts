import { cudaInfo, isa } from "@md/tensor";
import { ask } from "./ask.js";
import type { Outcome } from "./outcome.js";

/** Devices and versions. A machine without a device, or a tool that is missing, is skipped with its reason. */
export function doctor(outcome: Outcome): void {
  const { devices, reason, architectures, driver, runtime, cublas } = cudaInfo();
  const about = `kernels for ${architectures}, driver ${driver}, runtime ${runtime}, cuBLAS ${cublas}`;
  outcome.add({ name: `addon: Node ${process.version}, ${isa()}, ${about}`, status: "passed" });
  for (const [i, { name, major, minor, totalBytes }] of devices.entries())
    outcome.add({ name: `cuda:${i}: ${name}, ${major}.${minor}`, status: "passed", numbers: { totalBytes } });
  if (devices.length === 0) outcome.add({ name: "cuda:0", status: "skipped", reason: `no CUDA device: ${reason}` });
  const tools: [name: string, command: string, ...args: string[]][] = [
    ["nvidia-smi", "nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],
    ["nvcc", "nvcc", "--version"],
    ["PyTorch", "python3", "-c", "import torch; print(torch.__version__, torch.cuda.is_available())"],
    ["compute-sanitizer", "compute-sanitizer", "--version"],
  ];
  for (const [name, command, ...args] of tools) {
    const { line, reason } = ask(command, ...args);
    if (line !== null) outcome.add({ name: `${name}: ${line}`, status: "passed" });
    else outcome.add({ name, status: "skipped", reason });
  }
}
