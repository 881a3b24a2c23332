import type { DeviceName } from "@md/tensor";
import { type CaseResult, measureCase } from "../../../benchmarks/measure/case.js";
import { measureDeviceCeilings } from "../../../benchmarks/measure/device-ceilings.js";
import type { BenchDType } from "../../../benchmarks/options.js";
import { startDevicePeers } from "../../../benchmarks/peers/device-peers.js";
import type { Suite } from "../../../benchmarks/suite.js";
import { suitesOn } from "../../../benchmarks/suites/on-device.js";
import type { Entry, Outcome } from "./outcome.js";
import type { Sizes } from "./sizes.js";

export interface BenchmarkOptions {
  device: DeviceName;
  dtype: BenchDType;
  /** torch.compile too. */
  compile: boolean;
  /** The full policy's steps, or kernels. */
  what: "policy" | "kernels";
  sizes: Sizes;
  /** torch_peer.py. */
  torchPeer: string;
}

/** Times ours and PyTorch's on a device in turn; without PyTorch, ours alone. A wrong result fails and is not timed. */
export async function benchmark(options: BenchmarkOptions, outcome: Outcome): Promise<void> {
  const { device, dtype } = options;
  const { pace } = options.sizes;
  const ceiling = measureDeviceCeilings(device, dtype, options.sizes.ceilings);
  const { gflops, gbs } = ceiling;
  outcome.add({ name: `ceilings, ${dtype}`, status: "passed", numbers: { "GFLOP/s": gflops, "GB/s": gbs } });
  const { present, absent } = await startDevicePeers(options);
  for (const { name, why } of absent) outcome.add({ name, status: "skipped", reason: why });
  const around = { device, dtype, threads: [1], peers: present, ceilings: new Map([[1, ceiling]]), pace };
  for (const { name, cases } of chosen(options))
    for (const bench of cases) outcome.add(entryOf(dtype, await measureCase(name, bench, around)));
  for (const peer of present) await peer.close();
}

/** What is measured; torch.compile takes minutes, and so is beside the training step alone. */
export function chosen({ device, dtype, what, compile, sizes }: Omit<BenchmarkOptions, "torchPeer">): Suite[] {
  const suites = suitesOn({ device, dtype }, sizes.policy);
  const isPolicy = ({ name }: Suite): boolean => name === "full-policy";
  if (what === "policy")
    return suites.filter(isPolicy).map(({ name, cases }) => ({ name, cases: compile ? cases.slice(0, 1) : cases }));
  const kernels = suites.filter((suite) => !isPolicy(suite));
  return kernels.map(({ name, cases }) => ({ name, cases: cases.filter((bench) => sizes.timed(bench)) }));
}

function entryOf(dtype: BenchDType, result: CaseResult): Entry {
  const { name, failure, unable } = result;
  if (failure !== null)
    return { name, status: failure.includes("has no CUDA kernel") ? "skipped" : "failed", reason: failure };
  const reason = unable.length > 0 ? { reason: unable.join("; ") } : {};
  return { name, status: "passed", measured: { dtype, result }, ...reason };
}
