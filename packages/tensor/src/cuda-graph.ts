import { DisposedError, native } from "@md/native";
import { withCapturedCasts } from "./autocast.js";
import { deviceCode, type DeviceName } from "./device.js";
import { currentScope, disown, own, type Owned, type Resource, Scope, scope, within } from "./scope.js";

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
 * that {@link assign} overwrites. What came from the host stays as it was, random draws too.
 *
 * The memory of all that the body made is the graph's until it is disposed; tensors that it only read are kept alive as
 * long. Run the same work once before it is captured, so that all that it needs is loaded.
 */
export class CudaGraph<T> implements Owned {
  owner: Scope | null = null;
  private live = true;

  private constructor(
    /** What the body returned; each replay writes its tensors anew. Before the first one their elements are undefined. */
    readonly result: T,
    readonly resource: GraphResource,
  ) {
    own(this, currentScope());
  }

  /**
   * @throws UnsupportedError, with the op's name, for work that waits for the device (`data()`, a voxel hash, a norm of
   *   gradients), and within another capture; DeviceError for the CPU. The device then goes on as if nothing was captured.
   */
  static capture<T>(device: DeviceName, body: () => T): CudaGraph<T> {
    const code = deviceCode("CudaGraph", device);
    native.beginGraph(code);
    const kept = new Scope();
    try {
      const result = withCapturedCasts(() => within(kept, () => scope(body)));
      return new CudaGraph(result, new GraphResource(native.endGraph(code), kept));
    } catch (error) {
      kept.close([], null);
      native.abortGraph(code);
      throw error;
    }
  }

  /** Queues the captured work. DisposedError after {@link dispose}. */
  replay(): void {
    if (!this.live) throw new DisposedError("[CudaGraph] a graph was used after it was disposed");
    native.replayGraph(this.resource.graph);
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

  *reachable(): Iterable<Owned> {}
}
