import { createRequire } from "node:module";
import { Command } from "commander";
import { addConvert } from "./commands/convert.js";
import { addData } from "./commands/data.js";
import { addDemo } from "./commands/demo.js";
import { addDoctor } from "./commands/doctor.js";
import { addEval } from "./commands/eval.js";
import { describeFailure } from "./commands/failure.js";
import { addInfo } from "./commands/info.js";
import { addSample } from "./commands/sample.js";
import { addTrain } from "./commands/train.js";

// As far from src/ as from dist/.
const { version } = createRequire(import.meta.url)("../package.json") as { version: string };

const program = new Command("minidiff")
  .description("train and judge diffusion policies on robot demonstrations")
  .version(version)
  .exitOverride();
for (const add of [addDemo, addTrain, addEval, addSample, addInfo, addConvert, addData, addDoctor]) add(program);

try {
  await program.parseAsync();
} catch (error) {
  const { message, status } = describeFailure(error);
  if (message !== null) console.error(message);
  process.exitCode = status;
}
