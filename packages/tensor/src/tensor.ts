import { DisposedError, native, ShapeError, UnsupportedError, ValueError } from "@md/native";
import type { GraphNode } from "./autograd.js";
import { type Device, deviceCode, type DeviceName, deviceOfCode } from "./device.js";
import { type DType, dtypeCode, dtypes, hostArray, type HostArray, isFloat, isHalf, itemSize } from "./dtype.js";
import { free } from "./free.js";
import { currentScope, disown, own, type Owned, type Resource, type Scope } from "./scope.js";

/** A native slot, shared by a tensor and the graph nodes that saved it; freed with its last holder. */
export class Handle implements Resource {
  private holders = 1;
  constructor(
    readonly slot: number,
    readonly bytes: number,
  ) {}
  retain(): this {
    this.holders++;
    return this;
  }
  release(): void {
    if (--this.holders === 0) free(this.slot);
  }
}

/**
 * An n-dimensional array of one dtype on one device. Immutable but for optimiser steps; ops make new tensors, views
 * share storage. Freed by its {@link scope}, by `dispose()`, or by `using`; without a scope, by the garbage collector.
 */
export class Tensor implements Owned {
  owner: Scope | null = null;
  place = 0;
  /** Gradient of the last `backward()`, for leaves with `requiresGrad`; accumulates until it is set to null. */
  grad: Tensor | null = null;
  /** The op that made this tensor, if gradients flow through it. */
  node: GraphNode | null = null;
  outputIndex = 0;
  private gradWanted = false;
  private live = true;

  /** `resource` and `device` change together, in `moveTo` alone. */
  constructor(
    public resource: Handle,
    readonly shape: readonly number[],
    readonly dtype: DType,
    public device: Device,
  ) {
    own(this, currentScope());
  }

  get rank(): number {
    return this.shape.length;
  }
  /** Number of elements. */
  get size(): number {
    let n = 1;
    for (const extent of this.shape) n *= extent;
    return n;
  }
  get disposed(): boolean {
    return !this.live;
  }
  get isLeaf(): boolean {
    return this.node === null;
  }
  /** Whether `backward()` computes a gradient for this tensor or something before it. */
  get requiresGrad(): boolean {
    return this.gradWanted || this.node !== null;
  }
  set requiresGrad(wanted: boolean) {
    if (this.node)
      throw new UnsupportedError("[requiresGrad] found the result of an op, expected a leaf; use detach()");
    if (wanted && !isFloat(this.dtype)) {
      throw new UnsupportedError(`[requiresGrad] dtype is ${this.dtype}, expected a float`);
    }
    this.gradWanted = wanted;
  }

  /** The native slot. DisposedError after `dispose()` or after the owning scope closed. */
  get slot(): number {
    if (!this.live)
      throw new DisposedError(`[tensor] a tensor of shape [${this.shape}] was used after it was disposed`);
    return this.resource.slot;
  }

  /**
   * Puts a leaf and its gradient on another device, in place: whoever holds the tensor sees it there. Views of it stay
   * where they were. UnsupportedError for the result of an op; use `to`.
   */
  moveTo(name: DeviceName): this {
    const code = deviceCode("moveTo", name);
    if (this.node) throw new UnsupportedError("[moveTo] found the result of an op, expected a leaf; use to()");
    this.grad?.moveTo(name);
    if (deviceOfCode(code) === this.device) return this;
    native.toDevice(this.slot, code);
    const moved = takeOutput(0);
    const { owner } = this;
    disown(this);
    this.resource.release();
    this.resource = moved.resource.retain();
    this.device = moved.device;
    own(this, owner);
    moved.dispose();
    return this;
  }

  /** Frees the tensor now; a second call does nothing. Views and saved activations keep their storage. */
  dispose(): void {
    if (!this.live) return;
    disown(this);
    this.live = false;
    this.grad?.dispose();
    this.grad = null;
    this.node = null;
    this.resource.release();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Takes the tensor out of its scope: it lives until `dispose()`. Parameters and caches are kept. */
  keep(): this {
    void this.slot;
    disown(this);
    own(this, null);
    return this;
  }

  reachable(): readonly Owned[] {
    return this.node ? [this.node] : [];
  }

  /** The elements in row-major order, f16 and bf16 as their bits; a copy. */
  data(): HostArray {
    const out = hostArray(this.dtype, this.size);
    native.toBytes(this.slot, new Uint8Array(out.buffer, out.byteOffset, out.byteLength));
    return out;
  }

  /** The only element as a number; bool gives 0 or 1. ShapeError unless there is exactly one. */
  item(): number {
    if (this.size !== 1) throw new ShapeError(`[item] shape is [${this.shape}], expected one element`);
    return this.toFlatArray()[0]!;
  }

  /** The elements as numbers, flat, in row-major order. ValueError for an i64 beyond 2^53. */
  toFlatArray(): number[] {
    if (isHalf(this.dtype)) {
      native.cast(this.slot, dtypeCode("f32"));
      using wide = takeOutput(0);
      return wide.toFlatArray();
    }
    return Array.from<number | bigint, number>(this.data(), toNumber);
  }

  toString(): string {
    return `Tensor(${this.dtype}, [${this.shape}]${this.requiresGrad ? ", requiresGrad" : ""})`;
  }
}

function toNumber(value: number | bigint): number {
  const number = Number(value);
  if (typeof value === "bigint" && !Number.isSafeInteger(number)) {
    throw new ValueError(`[tensor] found ${value}, expected an integer of at most 2^53 - 1; use data()`);
  }
  return number;
}

const kOutputStride = 12;

/** The tensor that the last native call described as output `index`. */
export function takeOutput(index: number): Tensor {
  const base = index * kOutputStride;
  const outputs = native.outputs;
  const rank = outputs[base + 3]!;
  const shape = new Array<number>(rank);
  let size = 1;
  for (let axis = 0; axis < rank; axis++) size *= shape[axis] = outputs[base + 4 + axis]!;
  const dtype = dtypes[outputs[base + 1]!]!;
  return new Tensor(new Handle(outputs[base]!, size * itemSize(dtype)), shape, dtype, deviceOfCode(outputs[base + 2]!));
}
