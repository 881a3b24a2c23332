import { type Device, type DeviceName, Tensor, ValueError } from "@md/tensor";
import { noteMade } from "./construct.js";
import { Parameter } from "./parameter.js";
import { copyStateDict, type LoadOptions, type StateDict } from "./state-dict.js";

type Member = Parameter | Module | Tensor;

/**
 * Base of all layers and models. Its parameters and children are its own properties that are a {@link Parameter} or a
 * Module, in the order of their definition, under the property's name; `register…` gives them another name (PyTorch's,
 * where it is not camelCase). Other tensors count as state only as registered buffers.
 */
export abstract class Module {
  /** Whether dropout and batch statistics are active; set it by `train()` and `eval()`. */
  training = true;
  readonly #registered = new Map<string, Member>();

  /** Adds `buffer` to the state under `name`: saved and loaded, not trained. It lives until `dispose()`. */
  protected registerBuffer(name: string, buffer: Tensor): Tensor {
    noteMade(buffer.keep());
    return this.#register(name, buffer);
  }
  /** Names a parameter otherwise than by its property. */
  protected registerParameter(name: string, parameter: Parameter): Parameter {
    return this.#register(name, parameter);
  }
  /** Names a child otherwise than by its property. */
  protected registerModule<M extends Module>(name: string, module: M): M {
    return this.#register(name, module);
  }

  #register<M extends Member>(name: string, member: M): M {
    if (name === "" || name.includes("."))
      throw new ValueError(`[${this.constructor.name}] found the name "${name}", expected one without a dot`);
    if (this.#registered.has(name)) throw new ValueError(`[${this.constructor.name}] "${name}" is registered twice`);
    this.#registered.set(name, member);
    return member;
  }

  // Own members by name. A registered member goes by its registered name alone.
  #members(): Map<string, Member> {
    const names = new Map<unknown, string>();
    for (const [name, member] of this.#registered) names.set(member, name);
    const members = new Map<string, Member>();
    for (const [key, value] of Object.entries(this) as [string, unknown][]) {
      const name = names.get(value);
      if (name !== undefined) members.set(name, value as Member);
      else if (value instanceof Parameter || value instanceof Module) members.set(key, value);
      else if (Array.isArray(value) && value.some((item) => item instanceof Parameter || item instanceof Module)) {
        throw new ValueError(`[${this.constructor.name}] "${key}" is an array of modules, expected a ModuleList`);
      }
    }
    for (const [name, member] of this.#registered) members.set(name, member);
    return members;
  }

  /** Direct children by name. */
  get children(): Map<string, Module> {
    return new Map([...this.#members()].filter((entry): entry is [string, Module] => entry[1] instanceof Module));
  }

  // This module, under `prefix`, and all below it that were not `seen`, with the members of each.
  #visit(
    prefix: string,
    seen: Set<Module>,
    found: (prefix: string, module: Module, members: Map<string, Member>) => void,
  ): void {
    if (seen.has(this)) return;
    seen.add(this);
    const members = this.#members();
    found(prefix, this, members);
    for (const [name, member] of members) if (member instanceof Module) member.#visit(join(prefix, name), seen, found);
  }

  /** This module (under `prefix`, default "") and all below it, each once. */
  namedModules(prefix = "", seen = new Set<Module>()): Map<string, Module> {
    const modules = new Map<string, Module>();
    this.#visit(prefix, seen, (name, module) => modules.set(name, module));
    return modules;
  }

  /** Parameters by dotted name; one that is shared appears once, under its first name. */
  namedParameters(): Map<string, Parameter> {
    return this.#state((member): member is Parameter => member instanceof Parameter);
  }

  /** Registered buffers by dotted name, each once. */
  namedBuffers(): Map<string, Tensor> {
    return this.#state((member): member is Tensor => !(member instanceof Parameter));
  }

  #state<T extends Tensor>(wanted: (member: Tensor) => member is T): Map<string, T> {
    const state = new Map<string, T>();
    const seen = new Set<Tensor>();
    this.#visit("", new Set(), (prefix, _, members) => {
      for (const [name, member] of members) {
        if (member instanceof Module || seen.has(member) || !wanted(member)) continue;
        seen.add(member);
        state.set(join(prefix, name), member);
      }
    });
    return state;
  }

  parameters(): Parameter[] {
    return [...this.namedParameters().values()];
  }
  /** Number of elements of all parameters. */
  get numParameters(): number {
    return this.parameters().reduce((total, parameter) => total + parameter.size, 0);
  }

  /**
   * Parameters and buffers by dotted name, as PyTorch orders and names them; one that is shared appears under each of
   * its names. These are the module's own tensors, not copies.
   */
  stateDict(prefix = ""): StateDict {
    const members = [...this.#members()];
    const found: StateDict = new Map();
    const isBuffer = (member: Member): boolean => !(member instanceof Parameter);
    for (const buffers of [false, true]) {
      for (const [name, member] of members) {
        if (member instanceof Tensor && isBuffer(member) === buffers) found.set(join(prefix, name), member);
      }
    }
    for (const [name, member] of members) {
      if (!(member instanceof Module)) continue;
      for (const entry of member.stateDict(join(prefix, name))) found.set(...entry);
    }
    return found;
  }

  /**
   * Copies the values of `dict` into this module. StateDictError lists all missing, unexpected and mis-shaped names,
   * and then nothing is loaded; `strict: false` allows missing and unexpected ones and returns them. f32 and f64
   * convert into each other.
   */
  loadStateDict(
    dict: ReadonlyMap<string, Tensor>,
    options: LoadOptions = {},
  ): { missing: string[]; unexpected: string[] } {
    return copyStateDict(this.stateDict(), dict, options);
  }

  /**
   * Puts all parameters (with their gradients) and buffers on `device`, in place: optimisers go on with the same ones.
   * Make them after that, so that their state is there too. DeviceError where there is no such device.
   */
  to(device: DeviceName): this {
    for (const tensor of new Set(this.stateDict().values())) tensor.moveTo(device);
    return this;
  }

  /** Where the first parameter or buffer lies, after {@link to} all of them; "cpu" where there is none. */
  get device(): Device {
    return this.#firstTensor()?.device ?? "cpu";
  }
  #firstTensor(): Tensor | undefined {
    for (const member of this.#members().values()) {
      const found = member instanceof Module ? member.#firstTensor() : member;
      if (found) return found;
    }
    return undefined;
  }

  /** Sets `training` here and below. */
  train(mode = true): this {
    for (const module of this.namedModules().values()) module.training = mode;
    return this;
  }
  /** `train(false)`. */
  eval(): this {
    return this.train(false);
  }

  /** Whether `backward()` computes gradients of the parameters; false freezes them. */
  setRequiresGrad(wanted: boolean): this {
    for (const parameter of this.parameters()) parameter.requiresGrad = wanted;
    return this;
  }
  /** Drops the gradients of all parameters. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
  }

  /** Frees all parameters and buffers. */
  dispose(): void {
    for (const tensor of this.stateDict().values()) tensor.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

const join = (prefix: string, name: string): string => (prefix === "" ? name : `${prefix}.${name}`);
