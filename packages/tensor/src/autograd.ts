import { DTypeError, ShapeError, TensorError, UnsupportedError } from "@md/native";
import { autocast, autocastDType, forgetCasts } from "./autocast.js";
import { type DType, isFloat } from "./dtype.js";
import { rules } from "./gradients/index.js";
import { add } from "./ops/elementwise.js";
import { ones } from "./ops/create.js";
import { sumTo } from "./ops/sum-to.js";
import type { Primitive, Primitives } from "./primitives.js";
import type { Generator } from "./random.js";
import { currentScope, disown, own, type Owned, type Resource, scope, type Scope } from "./scope.js";
import { type Handle, Tensor } from "./tensor.js";

/** What a gradient rule sees: the tensors that it asked to save (others null) and the op's attributes. */
export interface RuleContext<A> {
  inputs: readonly (Tensor | null)[];
  outputs: readonly (Tensor | null)[];
  attrs: A;
  /** Shapes of the inputs, whether saved or not. */
  shapes: readonly (readonly number[])[];
  outputShapes: readonly (readonly number[])[];
  /** Which inputs want a gradient. */
  needs: readonly boolean[];
  /** What later ops have given the inputs already, or null, for a rule that {@link Rule.adds} them; else empty. */
  earlier: readonly (Tensor | null)[];
}

/**
 * Gradient of one op. `grad` returns one entry an input (null: none); it may have the broadcast output's shape, the
 * engine sums it down to the input's. An output without a gradient arrives as null.
 */
export interface Rule<A> {
  /** Indices of inputs and outputs that `grad` reads. */
  saves?: { inputs?: readonly number[]; outputs?: readonly number[] };
  /** Inputs to whose gradient `grad` adds the `earlier` one, while it is in registers, instead of the engine afterwards. */
  adds?: readonly number[];
  grad(context: RuleContext<A>, grads: readonly (Tensor | null)[]): (Tensor | null)[];
}

/** What keeps the elements of a tensor. */
export type Saved = Pick<Tensor, "resource" | "shape" | "dtype" | "device">;

/** Another tensor of the same slot, without a graph. */
export function alias({ resource, shape, dtype, device }: Saved): Tensor {
  return new Tensor(resource.retain(), shape, dtype, device);
}

/** Handles that a node holds, apart from the node: its finalizer must not refer to it. */
class SavedHandles implements Resource {
  constructor(private handles: Handle[]) {}
  get bytes(): number {
    return this.handles.reduce((total, handle) => total + handle.bytes, 0);
  }
  release(): void {
    for (const handle of this.handles) handle.release();
    this.handles = [];
  }
}

/** Gradients of a node's outputs, from those of its consumers that have had their turn. */
type Pending = Map<GraphNode, (Tensor | null)[]>;

let sequence = 0;

/** One recorded op: edges to what made its inputs, and the tensors that its rule reads. */
export class GraphNode implements Owned {
  owner: Scope | null = null;
  place = 0;
  readonly id = sequence++;
  readonly resource: SavedHandles;
  readonly edges: (GraphNode | Tensor | null)[];
  readonly edgeOutputs: number[];
  readonly shapes: (readonly number[])[];
  readonly needs: boolean[];
  readonly outputShapes: (readonly number[])[];
  private readonly savedInputs: (Saved | null)[];
  private readonly savedOutputs: (Saved | null)[];
  private freed = false;

  constructor(
    readonly name: string,
    private readonly rule: Rule<unknown>,
    private readonly attrs: unknown,
    inputs: readonly (Tensor | null)[],
    outputs: readonly Tensor[],
  ) {
    this.needs = inputs.map((input) => input !== null && input.requiresGrad);
    this.edges = inputs.map((input) => (input?.requiresGrad ? (input.node ?? input) : null));
    this.edgeOutputs = inputs.map((input) => input?.outputIndex ?? 0);
    this.shapes = inputs.map((input) => input?.shape ?? []);
    this.outputShapes = outputs.map((output) => output.shape);
    const handles: Handle[] = [];
    const save = (tensor: Tensor | null): Saved | null => {
      if (!tensor) return null;
      handles.push(tensor.resource.retain());
      return { resource: tensor.resource, shape: tensor.shape, dtype: tensor.dtype, device: tensor.device };
    };
    const { saves } = rule;
    this.savedInputs = inputs.map((input, i) => (saves?.inputs?.includes(i) ? save(input) : null));
    this.savedOutputs = outputs.map((output, i) => (saves?.outputs?.includes(i) ? save(output) : null));
    this.resource = new SavedHandles(handles);
    own(this, currentScope());
  }

  /** Takes from `pending` what the rule adds to its own. */
  takeEarlier(pending: Pending, dtype: DType): (Tensor | null)[] {
    const { adds } = this.rule;
    if (!adds) return [];
    return this.edges.map((edge, i) => {
      const grads = adds.includes(i) && edge instanceof GraphNode ? pending.get(edge) : undefined;
      const found = grads?.[this.edgeOutputs[i]!];
      if (!grads || found?.dtype !== dtype) return null;
      grads[this.edgeOutputs[i]!] = null;
      return found;
    });
  }

  /** Gradients of the inputs; call inside a scope. */
  run(grads: readonly (Tensor | null)[], earlier: readonly (Tensor | null)[]): (Tensor | null)[] {
    if (this.freed) {
      throw new TensorError(
        `[backward] the graph of ${this.name} was freed by an earlier backward or by its scope; pass retainGraph: true to keep it`,
      );
    }
    const context = {
      inputs: this.savedInputs.map((saved) => saved && alias(saved)),
      outputs: this.savedOutputs.map((saved) => saved && alias(saved)),
      attrs: this.attrs,
      shapes: this.shapes,
      outputShapes: this.outputShapes,
      needs: this.needs,
      earlier,
    };
    const results = this.rule.grad(context, grads);
    if (results.length !== this.edges.length) {
      throw new TensorError(
        `[${this.name}] its gradient rule returned ${results.length} gradients, expected ${this.edges.length}`,
      );
    }
    // Every gradient handed on is a tensor of its own, so that each receiver may free it.
    const handedOn: (Tensor | null)[] = [];
    for (const [i, grad] of results.entries()) {
      const summed = grad && this.needs[i] ? sumTo(grad, this.shapes[i]!) : null;
      handedOn.push(summed && (grads.includes(summed) || handedOn.includes(summed)) ? alias(summed) : summed);
    }
    return handedOn;
  }

  dispose(): void {
    if (this.freed) return;
    this.freed = true;
    disown(this);
    this.resource.release();
  }

  reachable(): readonly Owned[] {
    return this.edges.filter((edge) => edge !== null);
  }
}

let enabled = true;
export const gradEnabled = (): boolean => enabled;

/** Runs `body` without recording gradients. */
export function noGrad<T>(body: () => T): T {
  const outer = enabled;
  enabled = false;
  try {
    const result = body();
    if (result instanceof Promise) {
      result.catch(() => undefined);
      throw new UnsupportedError("[noGrad] the body returned a promise, expected a synchronous body");
    }
    return result;
  } finally {
    enabled = outer;
  }
}

function withGrad<T>(body: () => T): T {
  const outer = enabled;
  enabled = true;
  try {
    return body();
  } finally {
    enabled = outer;
  }
}

/** Whether a node will hang on an op of these inputs; if not, what its gradient alone would read need not be kept. */
export const isRecorded = (inputs: readonly (Tensor | null)[]): boolean =>
  enabled && inputs.some((input) => input?.requiresGrad);

/** Called by the door after each op: hangs a node on the outputs if any input wants a gradient. */
export function record<P extends Primitive>(
  primitive: P,
  inputs: readonly (Tensor | null)[],
  attrs: Primitives[P],
  outputs: readonly Tensor[],
): void {
  if (!isRecorded(inputs)) return;
  const rule = rules[primitive];
  if (rule === "nondiff") return;
  attach(primitive, rule as Rule<unknown>, attrs, inputs, outputs);
}

function attach(
  name: string,
  rule: Rule<unknown>,
  attrs: unknown,
  inputs: readonly (Tensor | null)[],
  outputs: readonly Tensor[],
): void {
  const node = new GraphNode(name, rule, attrs, inputs, outputs);
  outputs.forEach((output, i) => {
    if (!isFloat(output.dtype)) return;
    output.node = node;
    output.outputIndex = i;
  });
}

/**
 * An op of one's own. `forward` computes without recording and returns its output; `backward` gets the output's
 * gradient, the inputs and the output, and returns one gradient an input (null: none).
 */
export function defineOp<Args extends readonly unknown[] = []>(definition: {
  name: string;
  forward(inputs: readonly Tensor[], ...args: Args): Tensor;
  backward(grad: Tensor, inputs: readonly Tensor[], output: Tensor, ...args: Args): (Tensor | null)[];
}): (inputs: readonly Tensor[], ...args: Args) => Tensor {
  return (inputs, ...args) => {
    const output = noGrad(() => scope(() => definition.forward(inputs, ...args)));
    if (inputs.includes(output)) {
      throw new TensorError(`[${definition.name}] forward returned one of its inputs, expected a new tensor`);
    }
    if (isRecorded(inputs)) {
      const rule: Rule<unknown> = {
        saves: { inputs: inputs.map((_, i) => i), outputs: [0] },
        grad: (context, grads) =>
          definition.backward(grads[0]!, context.inputs as Tensor[], context.outputs[0]!, ...args),
      };
      attach(definition.name, rule, args, inputs, [output]);
    }
    return output;
  };
}

/**
 * `body(...inputs)`, of which only the inputs are kept for the backward pass: it runs again there (Chen et al., "Training
 * deep nets with sublinear memory cost", 2016). Parameters that it reads get their gradients, too. It must compute the
 * same both times: what it draws from comes in `generators`, which are put back for the second time, and it must change
 * nothing, such as batch statistics.
 *
 * @throws TensorError when the body returns one of its inputs
 */
export function checkpoint<Inputs extends readonly Tensor[]>(
  body: (...inputs: Inputs) => Tensor,
  inputs: Inputs,
  { generators = [] }: { generators?: readonly Generator[] } = {},
): Tensor {
  const states = generators.map(({ state }) => state);
  const precision = autocastDType();
  const output = noGrad(() => scope(() => body(...inputs)));
  if (inputs.includes(output))
    throw new TensorError("[checkpoint] the body returned one of its inputs, expected a new tensor");
  if (!enabled) return output;
  const rule: Rule<unknown> = {
    saves: { inputs: inputs.map((_, i) => i) },
    grad: (context, [gradient]) => {
      const leaves = context.inputs.map((input, i) => {
        const leaf = input!;
        if (context.needs[i]) leaf.requiresGrad = true;
        return leaf;
      });
      const now = generators.map(({ state }) => state);
      generators.forEach((generator, i) => (generator.state = states[i]!));
      const again = withGrad(() => autocast(precision, () => body(...(leaves as readonly Tensor[] as Inputs))));
      generators.forEach((generator, i) => (generator.state = now[i]!));
      forgetCasts(leaves);
      if (again.requiresGrad) backward(again, { gradient: gradient! });
      return leaves.map(({ grad }) => grad && alias(grad));
    },
  };
  attach("checkpoint", rule, null, inputs, [output]);
  return output;
}

/**
 * Adds d(loss)/d(leaf) to `grad` of every leaf with `requiresGrad`. The graph is freed on the way unless
 * `retainGraph`. `gradient` has the shape and dtype of `loss`; default 1 for a loss of one element.
 */
export function backward(loss: Tensor, options: { gradient?: Tensor; retainGraph?: boolean } = {}): void {
  if (!loss.requiresGrad) throw new TensorError("[backward] the tensor does not require a gradient");
  if (!options.gradient && loss.size !== 1) {
    throw new ShapeError(`[backward] shape is [${loss.shape}], expected one element or an explicit gradient`);
  }
  if (options.gradient && String(options.gradient.shape) !== String(loss.shape)) {
    throw new ShapeError(`[backward] gradient has shape [${options.gradient.shape}], expected [${loss.shape}]`);
  }
  if (options.gradient && options.gradient.dtype !== loss.dtype) {
    throw new DTypeError(`[backward] gradient has dtype ${options.gradient.dtype}, expected ${loss.dtype}`);
  }
  inBackward(() =>
    scope(() => {
      const seed = options.gradient ?? ones(loss.shape, { dtype: loss.dtype, device: loss.device });
      if (!loss.node) return accumulate(loss, alias(seed));
      const pending: Pending = new Map();
      receive(pending, loss.node, loss.outputIndex, seed);
      for (const node of order(loss.node)) {
        const grads = pending.get(node);
        pending.delete(node);
        if (grads) propagate(node, grads, pending, options.gradient);
        if (!options.retainGraph) node.dispose();
      }
    }),
  );
}

// Rules compute in the dtypes that the forward pass chose.
const inBackward = (body: () => void): void => noGrad(() => autocast("f32", body));

// Nodes that `root` reaches, latest first: a node's consumers always come before it.
function order(root: GraphNode): GraphNode[] {
  const found = new Set([root]);
  for (const node of found) for (const edge of node.edges) if (edge instanceof GraphNode) found.add(edge);
  return [...found].sort((a, b) => b.id - a.id);
}

function propagate(node: GraphNode, grads: (Tensor | null)[], pending: Pending, keep?: Tensor): void {
  const earlier = node.takeEarlier(pending, grads.find((grad) => grad !== null)!.dtype);
  const inputGrads = scope(() => node.run(grads, earlier));
  for (const grad of grads) if (grad && grad !== keep) grad.dispose();
  for (const grad of earlier) grad?.dispose();
  inputGrads.forEach((grad, i) => {
    const edge = node.edges[i];
    if (!grad || !edge) return;
    if (edge instanceof GraphNode) receive(pending, edge, node.edgeOutputs[i]!, grad);
    else accumulate(edge, grad);
  });
}

function receive(pending: Pending, node: GraphNode, index: number, grad: Tensor): void {
  let grads = pending.get(node);
  if (!grads) pending.set(node, (grads = node.outputShapes.map(() => null)));
  const before = grads[index];
  grads[index] = before ? add(before, grad) : grad;
  if (before) {
    before.dispose();
    grad.dispose();
  }
}

function accumulate(leaf: Tensor, grad: Tensor): void {
  const before = leaf.grad;
  leaf.grad = (before ? add(before, grad) : alias(grad)).keep();
  before?.dispose();
  grad.dispose();
}
