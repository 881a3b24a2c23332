import { describeValue, PickleObject, type PickleValue, TorchCheckpointError, TorchTensor } from "@md/pickle";

/** Tensors of a checkpoint by dotted name. */
export interface TensorSelection {
  tensors: Map<string, TorchTensor>;
  /** The part that they are from; null: the whole. */
  key: string | null;
  /** Names of what is no tensor, and of the parts that are left out. */
  skipped: string[];
}

const MAX_DEPTH = 64;
const MAX_VALUES = 1_000_000;
const MAX_NAME = 4096;
const MAX_LISTED = 40;

/**
 * The tensors of the part `key`, or of the part that is meant where none is named.
 *
 * @throws TorchCheckpointError when there is no such part, or more than one that may be meant
 */
export function selectTensors(root: PickleValue, key: string | undefined, file: string): TensorSelection {
  const flattener = new Flattener(file);
  if (key !== undefined) {
    const part = lookup(root, key);
    if (part === undefined) throw new TorchCheckpointError(file, `key "${key}"`, `is not there; ${listKeys(root)}`);
    const selection = { ...flattener.flatten(part), key };
    if (selection.tensors.size === 0) throw new TorchCheckpointError(file, `key "${key}"`, "holds no tensors by name");
    return selection;
  }
  const children = [...childrenOf(root)];
  if (root instanceof PickleObject) return { ...flattener.flatten(root), key: null };
  if (children.some(([, child]) => child instanceof TorchTensor)) return { ...flattener.flatten(root), key: null };
  const parts = children.map(([name, child]) => ({ ...flattener.flatten(child), key: name }));
  const [found, ...others] = parts.filter(({ tensors }) => tensors.size > 0);
  if (!found) throw new TorchCheckpointError(file, "checkpoint", `holds no tensors by name; ${listKeys(root)}`);
  if (others.length > 0) {
    const names = [found, ...others].slice(0, MAX_LISTED).map(({ key: name }) => name);
    const problem = `has tensors under more than one key: ${names.join(", ")}; name the one that is meant`;
    throw new TorchCheckpointError(file, "checkpoint", problem);
  }
  const leftOut = children.map(([name]) => name).filter((name) => name !== found.key);
  return { ...found, skipped: [...leftOut, ...found.skipped.map((name) => `${found.key}.${name}`)] };
}

/** Items of a dict or list, or attributes of a TorchScript module, by name; nothing for other values. */
function* childrenOf(value: PickleValue): Generator<[string, PickleValue]> {
  if (value instanceof PickleObject) yield* value.state;
  if (Array.isArray(value)) for (let i = 0; i < value.length; i++) yield [String(i), value[i]];
  if (!(value instanceof Map)) return;
  for (const [key, item] of value)
    yield [typeof key === "object" && key !== null ? describeValue(key) : String(key), item];
}

// Keys may themselves hold dots.
function lookup(value: PickleValue, key: string): PickleValue | undefined {
  const children = new Map(childrenOf(value));
  if (children.has(key)) return children.get(key);
  for (let dot = key.indexOf("."); dot >= 0; dot = key.indexOf(".", dot + 1)) {
    const child = children.get(key.slice(0, dot));
    const found = child === undefined ? undefined : lookup(child, key.slice(dot + 1));
    if (found !== undefined) return found;
  }
  return undefined;
}

function listKeys(root: PickleValue): string {
  const names = [...childrenOf(root)].map(([name]) => name.slice(0, 100));
  if (names.length === 0) return `it is ${describeValue(root)}`;
  const more = names.length > MAX_LISTED ? ", …" : "";
  return `its keys are ${names.slice(0, MAX_LISTED).join(", ")}${more}`;
}

/** Walks containers that may be deep, hold themselves, or hold one another many times over. */
class Flattener {
  private visited = 0;
  constructor(private readonly file: string) {}

  flatten(root: PickleValue): Pick<TensorSelection, "tensors" | "skipped"> {
    const found = { tensors: new Map<string, TorchTensor>(), skipped: [] };
    for (const [name, child] of childrenOf(root)) this.visit(name, child, 1, found);
    return found;
  }

  private visit(
    name: string,
    value: PickleValue,
    depth: number,
    found: Pick<TensorSelection, "tensors" | "skipped">,
  ): void {
    if (++this.visited > MAX_VALUES) this.fail("checkpoint", `has more than ${MAX_VALUES} values`);
    if (depth > MAX_DEPTH) this.fail("checkpoint", `is nested deeper than ${MAX_DEPTH}, or holds itself`);
    if (name.length > MAX_NAME) this.fail("checkpoint", `has a name of more than ${MAX_NAME} characters`);
    if (value instanceof TorchTensor) {
      if (found.tensors.has(name)) this.fail(`tensor ${JSON.stringify(name)}`, "is there twice");
      found.tensors.set(name, value);
    } else if (Array.isArray(value) || value instanceof Map || value instanceof PickleObject) {
      for (const [key, child] of childrenOf(value)) this.visit(`${name}.${key}`, child, depth + 1, found);
    } else {
      found.skipped.push(name);
    }
  }

  private fail(field: string, problem: string): never {
    throw new TorchCheckpointError(this.file, field, problem);
  }
}
