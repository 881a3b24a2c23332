import { DeviceError } from "@md/native";
import { anomalyEnabled, checkAnomaly } from "./anomaly.js";
import { forgetCasts } from "./autocast.js";
import { record } from "./autograd.js";
import type { AttentionAttrs } from "./ops/attention.js";
import type { DropoutAttrs } from "./ops/dropout.js";
import type { ElementwiseAttrs } from "./ops/elementwise.js";
import type { ImageAttrs } from "./ops/image.js";
import type { IndexingAttrs } from "./ops/indexing.js";
import type { LossAttrs } from "./ops/losses.js";
import type { MatmulAttrs } from "./ops/matmul.js";
import type { NormAttrs } from "./ops/norms.js";
import type { OptimizerAttrs } from "./ops/optimizer.js";
import type { ReduceAttrs } from "./ops/reduce.js";
import type { RotaryAttrs } from "./ops/rotary.js";
import type { SegmentAttrs } from "./ops/segment.js";
import type { SerializeAttrs } from "./ops/serialize.js";
import type { SoftmaxAttrs } from "./ops/softmax.js";
import type { SortAttrs } from "./ops/sort.js";
import type { SparseConvAttrs } from "./ops/sparse-conv.js";
import type { ViewAttrs } from "./ops/views.js";
import type { VoxelAttrs } from "./ops/voxel.js";
import { activeProfile } from "./profile.js";
import { takeOutput, type Tensor } from "./tensor.js";

/** Every op of the addon, with the attributes that its gradient rule reads. Each op file adds its own. */
export interface Primitives
  extends
    AttentionAttrs,
    DropoutAttrs,
    ElementwiseAttrs,
    ImageAttrs,
    IndexingAttrs,
    LossAttrs,
    MatmulAttrs,
    NormAttrs,
    OptimizerAttrs,
    ReduceAttrs,
    RotaryAttrs,
    SegmentAttrs,
    SerializeAttrs,
    SoftmaxAttrs,
    SortAttrs,
    SparseConvAttrs,
    ViewAttrs,
    VoxelAttrs {}
export type Primitive = keyof Primitives;

/**
 * The one door to the addon. `run` makes the native call; its first `outputs` outputs become tensors of the current
 * scope. Device checks, profiling, NaN checks and gradient recording are here and nowhere else. A null input is an
 * optional operand that is absent.
 */
export function executeAll<P extends Primitive>(
  primitive: P,
  inputs: readonly (Tensor | null)[],
  attrs: Primitives[P],
  outputs: number,
  run: () => void,
): Tensor[] {
  checkDevices(primitive, inputs);
  const profile = activeProfile();
  const start = profile ? profile.begin() : 0;
  run();
  const results: Tensor[] = [];
  for (let i = 0; i < outputs; i++) results.push(takeOutput(i));
  if (profile) profile.add(primitive, start, results);
  if (outputs === 0) forgetCasts(inputs); // it may have changed them in place
  record(primitive, inputs, attrs, results);
  if (anomalyEnabled()) checkAnomaly(primitive, inputs, results);
  return results;
}

/** {@link executeAll} for an op with one output. */
export function execute<P extends Primitive>(
  primitive: P,
  inputs: readonly (Tensor | null)[],
  attrs: Primitives[P],
  run: () => void,
): Tensor {
  return executeAll(primitive, inputs, attrs, 1, run)[0]!;
}

/**
 * {@link executeAll} for gradients, of which `run` gives those that `wanted` asks for: null in place of the others, and no
 * call where none is.
 */
export function executeWanted<P extends Primitive>(
  primitive: P,
  inputs: readonly (Tensor | null)[],
  attrs: Primitives[P],
  wanted: readonly boolean[],
  run: () => void,
): (Tensor | null)[] {
  const count = wanted.filter(Boolean).length;
  const grads = count > 0 ? executeAll(primitive, inputs, attrs, count, run) : [];
  return wanted.map((want) => (want ? grads.shift()! : null));
}

function checkDevices(primitive: string, inputs: readonly (Tensor | null)[]): void {
  let device: string | undefined;
  for (const input of inputs) {
    if (!input) continue;
    device ??= input.device;
    if (input.device !== device) {
      throw new DeviceError(`[${primitive}] operands are on ${device} and ${input.device}, expected one device`);
    }
  }
}
