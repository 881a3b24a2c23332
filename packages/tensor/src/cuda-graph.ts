import { DisposedError, native, ValueError } from "@md/native";
import { withCapturedCasts } from "./autocast.js";
import { deviceCode, type DeviceName } from "./device.js";
import type { Generator, GeneratorState } from "./random.js";
import { currentScope, disown, own, type Owned, type Resource, Scope, scope, within } from "./scope.js";

export interface CaptureOptions {
  /**
   * Those that the body draws from, of different seeds, as `register_generator_state` of PyTorch. Capturing moves none of
   * them. A replay draws from where each then stands and moves it on, as the body itself would. Default none.
   */
  generators?: readonly Generator[];
}

/** A generator as the body found it, and how many blocks the body draws. */
interface Stream {
  readonly generator: Generator;
  readonly captured: GeneratorState;
  readonly blocks: number;
}

/** A native graph, and the tensors in what its body returned. */
class GraphResource implements Resource {
  readonly bytes = 0;
  constructor(
    readonly graph: number,
    private readonly kept: Scope,
  ) {}
  release(): void {
    this.kept.close([], null);
    native.freeGraph(this.graph);
  }
}

/**
 * Work of a CUDA device that is captured once and replayed as a whole, as `torch.cuda.CUDAGraph`: one launch in place of
 * hundreds. It belongs to the scope that it was made in, as a tensor does.
 *
 * `capture` runs a body whose kernels and copies are noted and not done. `replay` does them, with the addresses, shapes and
 * numbers of the capture: what shall change from one replay to the next is read from tensors that were made before, and
 * that {@link assign} overwrites. What came from the host stays as it was. Random draws go on where their generators are
 * among {@link CaptureOptions.generators}.
 *
 * The memory of all that the body made is the graph's until it is disposed; tensors that it only read are kept alive as
 * long. Run the same work once before it is captured, so that all that it needs is loaded.
 */
export class CudaGraph<T> implements Owned {
  owner: Scope | null = null;
  place = 0;
  private live = true;

  private constructor(
    /** What the body returned; each replay writes its tensors anew. Before the first one their elements are undefined. */
    readonly result: T,
    readonly resource: GraphResource,
    private readonly streams: readonly Stream[],
  ) {
    own(this, currentScope());
  }

  /**
   * @throws UnsupportedError, with the op's name, for work that waits for the device (`data()`, a voxel hash), for draws
   *   that replays would repeat (of another generator, on the CPU, or the dropout of attention), and within another capture;
   *   DeviceError for the CPU. The device then goes on as if nothing was captured.
   */
  static capture<T>(device: DeviceName, body: () => T, { generators = [] }: CaptureOptions = {}): CudaGraph<T> {
    const code = deviceCode("CudaGraph", device);
    const states = generators.map(({ state }) => state);
    const seeds = Float64Array.from(states, ({ seed }) => seed);
    if (new Set(seeds).size < seeds.length)
      throw new ValueError(`[CudaGraph] found generators of the seeds ${seeds.join(", ")}, expected different ones`);
    native.beginGraph(code, seeds);
    const kept = new Scope();
    try {
      const result = withCapturedCasts(() => within(kept, () => scope(body)));
      const streams = generators.map((generator, i) => ({
        generator,
        captured: states[i]!,
        blocks: generator.state.offset - states[i]!.offset,
      }));
      return new CudaGraph(result, new GraphResource(native.endGraph(code), kept), streams);
    } catch (error) {
      kept.close([], null);
      native.abortGraph(code);
      throw error;
    } finally {
      generators.forEach((generator, i) => (generator.state = states[i]!));
    }
  }

  /** Queues the captured work. DisposedError after {@link dispose}; ValueError where a generator has got another seed. */
  replay(): void {
    if (!this.live) throw new DisposedError("[CudaGraph] a graph was used after it was disposed");
    const moved = Float64Array.from(this.streams, ({ generator, captured }) => {
      const { seed, offset } = generator.state;
      if (seed === captured.seed) return offset - captured.offset;
      throw new ValueError(`[CudaGraph] a generator has the seed ${seed}, expected ${captured.seed}, as when captured`);
    });
    native.replayGraph(this.resource.graph, moved);
    for (const { generator, blocks } of this.streams) generator.take(blocks, 1);
  }

  /** Frees the graph, its memory and the tensors of its result; a second call does nothing. */
  dispose(): void {
    if (!this.live) return;
    disown(this);
    this.live = false;
    this.resource.release();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  reachable(): readonly Owned[] {
    return [];
  }
}
