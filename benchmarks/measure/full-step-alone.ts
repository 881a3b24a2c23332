// Training steps of the full policy and nothing else, for their resident memory: SCENES POINTS SAMPLES STEPS
import { fullPolicy, policySteps } from "../policy-step.js";
import { surfaceBatch } from "../scenes.js";

const [scenes, points, samples, steps] = process.argv.slice(2).map(Number);
const { step } = policySteps(fullPolicy({ compat: "fixed", samples }), surfaceBatch(scenes, points));
for (let i = 0; i < steps; i++) step();
