/** Runs `body` with a signal that the first SIGINT or SIGTERM aborts; a second one ends the process as usual. */
export async function abortOnSignals<T>(body: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) process.once(signal, stop);
  try {
    return await body(controller.signal);
  } finally {
    for (const signal of signals) process.removeListener(signal, stop);
  }
}
