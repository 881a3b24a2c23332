import { AsyncLocalStorage } from "node:async_hooks";
import { native, UnsupportedError } from "@md/native";
import { freeTogether } from "./free.js";

/** Native memory behind a tensor or a graph node. */
export interface Resource {
  release(): void;
  readonly bytes: number;
}

/** A tensor or a graph node: frees its resource when it is disposed. */
export interface Owned {
  owner: Scope | null;
  /** Where its owner lists it. */
  place: number;
  readonly resource: Resource;
  dispose(): void;
  /** What has to stay alive as long as this does, when it leaves its scope. */
  reachable(): readonly Owned[];
}

/** Owns every tensor and graph node made while it is current; disposes them when it closes. */
export class Scope {
  // Of the language's own private kind: whoever prints a tensor, or makes JSON of it, does not meet it again here.
  #items: Owned[] = [];
  #closing = false;

  add(item: Owned): void {
    item.owner = this;
    item.place = this.#items.push(item) - 1;
  }

  /** Takes out one of its items; the last one takes its place. */
  remove(item: Owned): void {
    if (this.#closing) return;
    const last = this.#items.pop()!;
    if (last === item) return;
    this.#items[item.place] = last;
    last.place = item.place;
  }

  /** Moves `kept` and all that they reach to `parent` (null: to the garbage collector), disposes the rest. */
  close(kept: readonly Owned[], parent: Scope | null): void {
    const pending = [...kept];
    for (let item = pending.pop(); item !== undefined; item = pending.pop()) {
      if (item.owner !== this) continue;
      this.remove(item);
      own(item, parent);
      pending.push(...item.reachable());
    }
    this.#closing = true;
    freeTogether(() => {
      for (const item of this.#items) item.dispose();
    });
    this.#items = [];
    this.#closing = false;
  }
}

const asyncScopes = new AsyncLocalStorage<Scope>();
let syncScope: Scope | null = null;

/** The innermost open scope, if any. */
export function currentScope(): Scope | null {
  return syncScope ?? asyncScopes.getStore() ?? null;
}

// Bytes behind what the garbage collector owns, and what it was told of them. V8 begins a collection when it hears of 64 MB
// more: gradients that come and go with each step are not worth one.
let [held, told] = [0, 0];
const [LEAST_NEWS, MOST_UNTOLD] = [2 ** 26, 2 ** 29];

function hold(bytes: number): void {
  held += bytes;
  if (Math.abs(held - told) < Math.max(LEAST_NEWS, Math.min(told / 2, MOST_UNTOLD))) return;
  native.adjustExternalMemory(held - told);
  told = held;
}

// The backstop for what is made outside of any scope: released some time after it became unreachable.
const registry = new FinalizationRegistry<Resource>((resource) => {
  hold(-resource.bytes);
  resource.release();
});

/** Puts `item` under `scope`, or under the garbage collector where there is none. */
export function own(item: Owned, scope: Scope | null): void {
  if (scope) {
    scope.add(item);
  } else {
    item.owner = null;
    hold(item.resource.bytes);
    registry.register(item, item.resource, item);
  }
}

/** Takes `item` from its owner, as its dispose() does first. */
export function disown(item: Owned): void {
  if (item.owner) item.owner.remove(item);
  else if (registry.unregister(item)) hold(-item.resource.bytes);
  item.owner = null;
}

// Every tensor in a returned value: bare, in arrays, Maps, and plain objects.
function ownedIn(value: unknown, found: Owned[] = [], seen?: Set<object>): Owned[] {
  if (typeof value !== "object" || value === null) return found;
  if ("resource" in value && "owner" in value) {
    found.push(value as Owned);
    return found;
  }
  if (ArrayBuffer.isView(value) || seen?.has(value)) return found;
  const items = Array.isArray(value) || value instanceof Map || value instanceof Set ? value : Object.values(value);
  const containers = (seen ?? new Set()).add(value);
  for (const item of items) ownedIn(item, found, containers);
  return found;
}

/**
 * Runs `body` and frees every tensor that it made, except those in what it returns (bare, or in arrays, Maps, Sets and
 * plain objects). Scopes nest. For an async body use {@link scope.async}.
 */
export function scope<T>(body: () => T): T {
  const parent = currentScope();
  const outer = syncScope;
  const opened = new Scope();
  syncScope = opened;
  let kept: readonly Owned[] = [];
  try {
    const result = body();
    if (result instanceof Promise) {
      result.catch(() => undefined);
      throw new UnsupportedError("[scope] the body returned a promise, expected scope.async for an async body");
    }
    kept = ownedIn(result);
    return result;
  } finally {
    syncScope = outer;
    opened.close(kept, parent);
  }
}

/** Runs `body`; what it makes belongs to the scope of `item`, and so lives as long. */
export const withOwnerOf = <T>(item: Owned, body: () => T): T => within(item.owner, body);

/** Runs `body`; what it makes belongs to `owner` (null: to whatever is around). */
export function within<T>(owner: Scope | null, body: () => T): T {
  const outer = syncScope;
  syncScope = owner;
  try {
    return body();
  } finally {
    syncScope = outer;
  }
}

/** {@link scope} for an async body: the scope stays current across each `await` in it. */
scope.async = async function <T>(body: () => Promise<T>): Promise<T> {
  const parent = currentScope();
  const outer = syncScope;
  const opened = new Scope();
  let kept: readonly Owned[] = [];
  try {
    const result = await asyncScopes.run(opened, () => {
      syncScope = null;
      try {
        return body();
      } finally {
        syncScope = outer;
      }
    });
    kept = ownedIn(result);
    return result;
  } finally {
    opened.close(kept, parent);
  }
};
