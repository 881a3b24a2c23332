import { isUtf8 } from "node:buffer";
import { PickleError } from "./errors.js";
import {
  ByteCursor,
  parseDecimal,
  parseFloatLine,
  parseQuotedString,
  parseRawUnicode,
  parseTwosComplement,
} from "./literals.js";
import { instantiate, standardGlobal } from "./globals.js";
import { setArrayState, setDtypeState } from "./numpy.js";
import { OP, opcodeName } from "./opcodes.js";
import { DEFAULT_LIMITS, type PickleDialect, type UnpickleOptions } from "./options.js";
import {
  AllocationBudget,
  describeValue,
  NdArray,
  NumpyDtype,
  PickleGlobal,
  PickleObject,
  type PickleValue,
} from "./values.js";

const HIGHEST_PROTOCOL = 5;
const CONTAINER_BYTES = 64;
/** Of dicts and sets, which have tables even when they are empty. */
const TABLE_BYTES = 256;
const MEMO_BYTES = 48;

/**
 * Reads a pickle of protocol 0 to 5 without executing anything: only numpy arrays, builtin
 * containers and, as inert records, the classes that `isRecord` names are accepted.
 *
 * @param source name for error messages, usually the file
 * @throws PickleError on truncated, corrupt, oversized or not whitelisted input
 */
export function unpickle(bytes: Uint8Array, source: string, options: UnpickleOptions = {}): PickleValue {
  const { value, length } = unpickleFirst(bytes, source, options);
  if (length < bytes.length)
    throw new PickleError(source, "STOP", length - 1, `${bytes.length - length} bytes follow the end of the pickle`);
  return value;
}

/** Reads the pickle that `bytes` begin with, as {@link unpickle} does, and says how many bytes it has. */
export function unpickleFirst(
  bytes: Uint8Array,
  source: string,
  options: UnpickleOptions = {},
  dialect?: PickleDialect,
): { value: PickleValue; length: number } {
  const bounds = { ...DEFAULT_LIMITS, isRecord: () => false, ...options };
  const window = new Uint8Array(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, bounds.maxBytes + 1));
  return new Unpickler(window, source, bounds, dialect).run();
}

class Unpickler {
  private readonly input: ByteCursor;
  private readonly budget: AllocationBudget;
  private readonly memo = new Map<number, PickleValue>();
  private stack: PickleValue[] = [];
  private readonly marked: PickleValue[][] = [];

  constructor(
    bytes: Uint8Array,
    private readonly source: string,
    private readonly limits: Required<UnpickleOptions>,
    private readonly dialect?: PickleDialect,
  ) {
    this.input = new ByteCursor(bytes);
    this.budget = new AllocationBudget(limits.maxAllocation);
  }

  run(): { value: PickleValue; length: number } {
    for (;;) {
      const offset = this.input.position;
      let opcode = -1;
      try {
        opcode = this.input.uint8();
        if (this.input.position > this.limits.maxBytes)
          throw new Error(`the pickle has more than the ${this.limits.maxBytes} bytes allowed`);
        if (opcode === OP.STOP) return this.finish();
        this.step(opcode);
      } catch (error) {
        const name = opcode < 0 ? "end of file" : opcodeName(opcode);
        throw new PickleError(this.source, name, offset, (error as Error).message, { cause: error });
      }
    }
  }

  private finish(): { value: PickleValue; length: number } {
    const value = this.pop();
    if (this.stack.length > 0 || this.marked.length > 0) throw new Error("values are left on the stack");
    return { value, length: this.input.position };
  }

  private step(opcode: number): void {
    const { input } = this;
    switch (opcode) {
      case OP.PROTO: {
        const protocol = input.uint8();
        if (protocol > HIGHEST_PROTOCOL) throw new Error(`protocol ${protocol}, at most ${HIGHEST_PROTOCOL} is known`);
        return;
      }
      case OP.FRAME: {
        const length = input.uint64();
        if (length > input.remaining) throw new Error(`frame of ${length} bytes, ${input.remaining} are left`);
        return;
      }

      case OP.MARK:
        if (this.marked.length >= this.limits.maxDepth) throw new Error(`nested deeper than ${this.limits.maxDepth}`);
        this.marked.push(this.stack);
        this.stack = [];
        return;
      case OP.POP_MARK:
        this.popMark();
        return;
      case OP.POP:
        if (this.stack.length === 0 && this.marked.length > 0) this.popMark();
        else this.pop();
        return;
      case OP.DUP:
        return this.push(this.top());

      case OP.PUT:
        return this.store(parseDecimal(input.line()));
      case OP.BINPUT:
        return this.store(input.uint8());
      case OP.LONG_BINPUT:
        return this.store(input.uint32());
      case OP.MEMOIZE:
        return this.store(this.memo.size);
      case OP.GET:
        return this.recall(parseDecimal(input.line()));
      case OP.BINGET:
        return this.recall(input.uint8());
      case OP.LONG_BINGET:
        return this.recall(input.uint32());

      case OP.NONE:
        return this.push(null);
      case OP.NEWTRUE:
        return this.push(true);
      case OP.NEWFALSE:
        return this.push(false);
      case OP.INT: {
        const line = input.line();
        return this.push(line === "01" ? true : line === "00" ? false : parseDecimal(line));
      }
      case OP.LONG:
        return this.push(parseDecimal(input.line().replace(/L$/, "")));
      case OP.BININT:
        return this.push(input.int32());
      case OP.BININT1:
        return this.push(input.uint8());
      case OP.BININT2:
        return this.push(input.uint16());
      case OP.LONG1:
        return this.push(parseTwosComplement(input.take(input.uint8())));
      case OP.LONG4:
        return this.push(parseTwosComplement(input.take(input.int32())));
      case OP.FLOAT:
        return this.push(parseFloatLine(input.line()));
      case OP.BINFLOAT:
        return this.push(input.float64BigEndian());

      case OP.STRING:
        return this.pushString(parseQuotedString(input.line()));
      case OP.UNICODE:
        return this.pushString(parseRawUnicode(input.line()));
      case OP.BINSTRING:
        return this.pushString(latin1(input.take(input.int32())));
      case OP.SHORT_BINSTRING:
        return this.pushString(latin1(input.take(input.uint8())));
      case OP.SHORT_BINUNICODE:
        return this.pushString(utf8(input.take(input.uint8())));
      case OP.BINUNICODE:
        return this.pushString(utf8(input.take(input.uint32())));
      case OP.BINUNICODE8:
        return this.pushString(utf8(input.take(input.uint64())));
      case OP.SHORT_BINBYTES:
        return this.push(input.take(input.uint8()));
      case OP.BINBYTES:
        return this.push(input.take(input.uint32()));
      case OP.BINBYTES8:
      case OP.BYTEARRAY8:
        return this.push(input.take(input.uint64()));

      default:
        return this.stepContainer(opcode);
    }
  }

  private stepContainer(opcode: number): void {
    switch (opcode) {
      case OP.EMPTY_TUPLE:
      case OP.EMPTY_LIST:
        return this.pushContainer([]);
      case OP.TUPLE:
      case OP.LIST:
        return this.pushContainer(this.popMark());
      case OP.TUPLE1:
        return this.pushContainer(this.popMany(1));
      case OP.TUPLE2:
        return this.pushContainer(this.popMany(2));
      case OP.TUPLE3:
        return this.pushContainer(this.popMany(3));
      case OP.APPEND: {
        const item = this.pop();
        this.topList().push(item);
        return;
      }
      case OP.APPENDS: {
        const items = this.popMark();
        const list = this.topList();
        for (const item of items) list.push(item);
        return;
      }
      case OP.EMPTY_DICT:
        return this.pushContainer(new Map());
      case OP.DICT: {
        const items = this.popMark();
        this.pushContainer(new Map());
        return this.setItems(items);
      }
      case OP.SETITEM:
        return this.setItems(this.popMany(2));
      case OP.SETITEMS:
        return this.setItems(this.popMark());
      case OP.EMPTY_SET:
        return this.pushContainer(new Set());
      case OP.FROZENSET:
        return this.pushContainer(new Set(this.popMark()));
      case OP.ADDITEMS: {
        const items = this.popMark();
        const set = this.top();
        if (!(set instanceof Set)) throw new Error(`items added to ${describeValue(set)}, expected a set`);
        for (const item of items) set.add(item);
        return;
      }
      default:
        return this.stepObject(opcode);
    }
  }

  private stepObject(opcode: number): void {
    const { input } = this;
    switch (opcode) {
      case OP.GLOBAL: {
        const module = input.line();
        return this.push(this.findGlobal(module, input.line()));
      }
      case OP.STACK_GLOBAL: {
        const [module, name] = this.popMany(2);
        if (typeof module !== "string" || typeof name !== "string") throw new Error("global without a name");
        return this.push(this.findGlobal(module, name));
      }
      case OP.REDUCE:
      case OP.NEWOBJ: {
        const [callee, args] = this.popMany(2);
        return this.push(instantiate(callee, args, this.budget));
      }
      case OP.NEWOBJ_EX: {
        const [callee, args, keywords] = this.popMany(3);
        if (!(keywords instanceof Map) || keywords.size > 0) throw new Error("keyword arguments are not supported");
        return this.push(instantiate(callee, args, this.budget));
      }
      case OP.INST: {
        const module = input.line();
        const callee = this.findGlobal(module, input.line());
        return this.push(instantiate(callee, this.popMark(), this.budget));
      }
      case OP.OBJ: {
        const [callee = null, ...args] = this.popMark();
        return this.push(instantiate(callee, args, this.budget));
      }
      case OP.BUILD: {
        const state = this.pop();
        return this.build(this.top(), state);
      }
      case OP.BINPERSID: {
        if (!this.dialect) throw new Error("persistent ids are not supported");
        return this.push(this.dialect.persistentLoad(this.pop()));
      }
      default:
        throw new Error("opcode is not supported");
    }
  }

  private findGlobal(module: string, name: string): PickleGlobal {
    const full = `${module}.${name}`;
    const known = this.dialect?.globals.get(full) ?? standardGlobal(full);
    if (known) return known;
    if (this.limits.isRecord(full)) return new PickleGlobal(full, () => new PickleObject(full), true);
    throw new Error(`global "${full.slice(0, 200)}" is not on the whitelist`);
  }

  private build(target: PickleValue, state: PickleValue): void {
    if (target instanceof NdArray) return setArrayState(target, state, this.budget);
    if (target instanceof NumpyDtype) return setDtypeState(target, state);
    // Attributes of an OrderedDict, such as the versions that PyTorch keeps in a state dict's `_metadata`.
    if (target instanceof Map && state instanceof Map) return;
    if (!(target instanceof PickleObject)) throw new Error(`state given to ${describeValue(target)}`);
    if (!(state instanceof Map))
      throw new Error(`state of ${target.className} is ${describeValue(state)}, expected a dict`);
    this.budget.take(CONTAINER_BYTES * state.size);
    for (const [key, value] of state) {
      if (typeof key !== "string") throw new Error(`attribute of ${target.className} without a name`);
      target.state.set(key, value);
    }
  }

  private push(value: PickleValue): void {
    this.budget.take(8);
    this.stack.push(value);
  }

  private pushString(value: string): void {
    this.budget.take(2 * value.length);
    this.push(value);
  }

  private pushContainer(value: PickleValue): void {
    this.budget.take(Array.isArray(value) ? CONTAINER_BYTES : TABLE_BYTES);
    this.push(value);
  }

  private pop(): PickleValue {
    const value = this.stack.pop();
    if (value === undefined) throw new Error("stack is empty");
    return value;
  }

  private popMany(count: number): PickleValue[] {
    if (this.stack.length < count) throw new Error("stack is empty");
    return this.stack.splice(this.stack.length - count, count);
  }

  private popMark(): PickleValue[] {
    const items = this.stack;
    const outer = this.marked.pop();
    if (outer === undefined) throw new Error("no mark on the stack");
    this.stack = outer;
    return items;
  }

  private top(): PickleValue {
    const value = this.stack.at(-1);
    if (value === undefined) throw new Error("stack is empty");
    return value;
  }

  private topList(): PickleValue[] {
    const list = this.top();
    if (!Array.isArray(list)) throw new Error(`appended to ${describeValue(list)}, expected a list`);
    return list;
  }

  private setItems(items: PickleValue[]): void {
    const dict = this.top();
    if (!(dict instanceof Map)) throw new Error(`items set on ${describeValue(dict)}, expected a dict`);
    if (items.length % 2 !== 0) throw new Error("odd number of dict items");
    for (let i = 0; i < items.length; i += 2) dict.set(items[i], items[i + 1]);
  }

  private store(index: number | bigint): void {
    if (typeof index !== "number" || index < 0) throw new Error(`memo index ${index}`);
    if (this.memo.size >= this.limits.maxMemo) throw new Error(`memo of more than ${this.limits.maxMemo} entries`);
    this.budget.take(MEMO_BYTES);
    this.memo.set(index, this.top());
  }

  private recall(index: number | bigint): void {
    const value = this.memo.get(Number(index));
    if (value === undefined) throw new Error(`memo has no entry ${index}`);
    this.push(value);
  }
}

function utf8(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw new Error("text is not UTF-8");
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}
