import { type Tensor, ValueError } from "@md/tensor";
import { Module } from "./module.js";

/** A module that maps one tensor to one tensor. */
export interface Layer extends Module {
  forward(x: Tensor): Tensor;
}

/** Layers one after the other; named "0", "1", … */
export class Sequential extends Module implements Layer {
  readonly #layers: readonly Layer[];

  constructor(...layers: readonly Layer[]) {
    super();
    this.#layers = layers;
    layers.forEach((layer, i) => this.registerModule(String(i), layer));
  }
  forward(x: Tensor): Tensor {
    return this.#layers.reduce((value, layer) => layer.forward(value), x);
  }
}

/** Modules in order; named "0", "1", … */
export class ModuleList<M extends Module> extends Module implements Iterable<M> {
  readonly #modules: M[] = [];

  constructor(modules: Iterable<M> = []) {
    super();
    for (const module of modules) this.push(module);
  }
  get length(): number {
    return this.#modules.length;
  }
  push(module: M): void {
    this.registerModule(String(this.#modules.length), module);
    this.#modules.push(module);
  }
  /** The module at `index`, from the end if negative. ValueError beyond the ends. */
  at(index: number): M {
    const module = this.#modules.at(index);
    if (!module) throw new ValueError(`[ModuleList] index ${index} is out of range for ${this.length} modules`);
    return module;
  }
  [Symbol.iterator](): Iterator<M> {
    return this.#modules[Symbol.iterator]();
  }
}

/** Modules by name, in the order in which they were given. */
export class ModuleDict<M extends Module> extends Module {
  readonly #modules = new Map<string, M>();

  constructor(modules: Readonly<Record<string, M>> = {}) {
    super();
    for (const [name, module] of Object.entries(modules)) this.set(name, module);
  }
  /** Adds a module; ValueError if the name is taken. */
  set(name: string, module: M): void {
    this.registerModule(name, module);
    this.#modules.set(name, module);
  }
  has(name: string): boolean {
    return this.#modules.has(name);
  }
  /** The module called `name`; ValueError if there is none. */
  get(name: string): M {
    const module = this.#modules.get(name);
    if (!module)
      throw new ValueError(`[ModuleDict] found no "${name}", expected one of ${[...this.#modules.keys()].join(", ")}`);
    return module;
  }
  keys(): string[] {
    return [...this.#modules.keys()];
  }
  values(): M[] {
    return [...this.#modules.values()];
  }
}
