import type { Run } from "../../src/run/run.js";

/** Trains until `steps` steps are done, as an interruption would end it. */
export async function trainUntil(run: Run, steps: number): Promise<void> {
  const controller = new AbortController();
  const { trainer } = run;
  const step = trainer.trainStep.bind(trainer);
  trainer.trainStep = async () => {
    const metrics = await step();
    if (trainer.step === steps) controller.abort();
    return metrics;
  };
  await run.train({ signal: controller.signal });
}
