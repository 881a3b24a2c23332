import { anomalyEnabled, assign, CudaGraph, type DeviceName, full, type Tensor, withOwnerOf, zeros } from "@md/tensor";

export interface DenoiserOptions {
  /** B·C, timesteps that one evaluation takes. */
  rows: number;
  /** Where x lies. */
  device: DeviceName;
  /** How often the network is evaluated in the run. */
  evaluations: number;
}

/** Evaluations below which a graph is not worth its capture: one computes, one captures. */
const LEAST_EVALUATIONS = 3;

/**
 * The network of one sampling run as `runSampler` takes it. On a CUDA device the first evaluation computes, and with it
 * loads all that it needs; the second is captured in a {@link CudaGraph}, which then computes this and all later ones, to
 * the same bits. `MD_CUDA_GRAPHS=off` computes each by itself.
 *
 * The graph belongs to the scope that this is called in.
 *
 * @param evaluate the network's output, like x, for x and timesteps [rows]. It waits for nothing on the device, and reads
 *   nothing else that changes within the run.
 */
export function denoiser(
  { rows, device, evaluations }: DenoiserOptions,
  evaluate: (x: Tensor, timesteps: Tensor) => Tensor,
): (x: Tensor, timestep: number) => Tensor {
  // To look for NaN is to wait for every op.
  const off = process.env.MD_CUDA_GRAPHS === "off" || anomalyEnabled();
  const atTimestep = (timestep: number): Tensor => full([rows], timestep, { device });
  if (device === "cpu" || off || evaluations < LEAST_EVALUATIONS) return (x, t) => evaluate(x, atTimestep(t));
  const timesteps = zeros([rows], { device });
  let input: Tensor | null = null;
  let graph: CudaGraph<Tensor> | null = null;
  return (x, timestep) => {
    if (!input) {
      input = withOwnerOf(timesteps, () => copyOf(x));
      return evaluate(x, atTimestep(timestep));
    }
    const place = input;
    graph ??= withOwnerOf(timesteps, () => CudaGraph.capture(device, () => evaluate(place, timesteps)));
    assign(place, x);
    assign(timesteps, atTimestep(timestep));
    graph.replay();
    // The next replay overwrites it, while a solver may remember this one.
    return copyOf(graph.result);
  };
}

const copyOf = (x: Tensor): Tensor => x.mul(1);
