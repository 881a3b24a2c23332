import type { Command } from "commander";
import { convertWeights, formatConversion } from "../convert/convert.js";

interface ConvertFlags {
  key?: string;
  map?: string;
  like?: string;
}

/** `minidiff convert`. */
export function addConvert(program: Command): void {
  program
    .command("convert")
    .description("convert weights between PyTorch checkpoints and safetensors")
    .argument("<in>", "file to read: .pt, .pth or .safetensors")
    .argument("<out>", "file to write, of the other kind")
    .option("--key <part>", "part of the file that has the tensors, such as model")
    .option("--map <name>", "registered map of names", "identity")
    .option("--like <file>", "file or run whose tensors the output must have")
    .action(run);
}

function run(input: string, output: string, flags: ConvertFlags): void {
  const conversion = convertWeights({ input, output, ...flags });
  console.log(`${input}${conversion.key === null ? "" : ` (${conversion.key})`} → ${output}`);
  console.log(formatConversion(conversion));
}
