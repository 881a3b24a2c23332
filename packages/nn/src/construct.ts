import type { Tensor } from "@md/tensor";

// Parameters and buffers of the constructor that `construct` is running; null outside.
let made: Tensor[] | null = null;

/** Notes a tensor that lives until `dispose()`. */
export function noteMade(tensor: Tensor): void {
  made?.push(tensor);
}

/**
 * Runs a module's constructor. Where it throws, the parameters and buffers that it had made are freed, which would
 * otherwise wait for the garbage collector; where it returns, they live until the module's `dispose()`, as ever.
 */
export function construct<M>(make: () => M): M {
  const outer = made;
  const own: Tensor[] = [];
  made = own;
  try {
    const module = make();
    outer?.push(...own);
    return module;
  } catch (error) {
    for (const tensor of own) tensor.dispose();
    throw error;
  } finally {
    made = outer;
  }
}
