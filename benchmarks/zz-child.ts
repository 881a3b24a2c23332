import { createInterface } from "node:readline";
import { fullPolicy, policySteps } from "./policy-step.js";
import { surfaceBatch } from "./scenes.js";
const steps = policySteps(fullPolicy({ compat: "fixed", samples: 64 }), surfaceBatch(4, 1000));
for (let i = 0; i < 3; i++) steps.step();
console.log("ready");
for await (const _ of createInterface({ input: process.stdin })) { const t = performance.now(); steps.step(); steps.step(); console.log(((performance.now() - t) / 2).toFixed(2)); }
