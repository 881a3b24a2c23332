import { readInstructionTexts } from "@md/rlbench-data";
import type { Command } from "commander";
import { embedInstructions, instructionsOf } from "../embed.js";
import { ConfigError } from "../errors.js";
import { formatSeconds } from "../progress.js";
import { exitStatus } from "./failure.js";
import { abortOnSignals } from "./interrupt.js";

interface EmbedFlags {
  textModel: string;
  vocabulary: string;
  data?: string;
  instructions?: string;
  out: string;
  padding: string;
  truncate?: boolean;
}

/** `minidiff data embed`. */
export function addDataEmbed(data: Command): void {
  data
    .command("embed")
    .description("write the embeddings of instructions by CLIP's text model")
    .requiredOption("--text-model <file>", "CLIP's weights: .pt, .pth, .bin or .safetensors")
    .requiredOption("--vocabulary <file>", "bpe_simple_vocab_16e6.txt.gz, tokenizer.json or vocab.json")
    .option("--data <dir>", "folder of demonstrations whose instructions are meant")
    .option(
      "--instructions <file>",
      "the instructions: taskvars_instructions.json, a JSON list, or .txt with one a line",
    )
    .requiredOption("--out <file>", "safetensors file to write, for data.instructionFile")
    .option("--padding <kind>", `rows behind a text's end: ${paddings.join(", ")}`, "zero")
    .option("--truncate", "cut instructions that are too long, instead of refusing them")
    .action(run);
}

const paddings = ["zero", "end", "none"] as const;

async function run({ data, instructions, padding: kind, ...flags }: EmbedFlags): Promise<void> {
  const padding = paddings.find((name) => name === kind);
  if (!padding) throw new ConfigError("--padding", "", `is "${kind}", expected ${paddings.join(", ")}`);
  if ((data === undefined) === (instructions === undefined))
    throw new ConfigError("data embed", "", "needs one of --data and --instructions");
  const texts = data === undefined ? readInstructionTexts(instructions!) : await instructionsOf(data);
  const start = performance.now();
  const embedded = await abortOnSignals((signal) =>
    embedInstructions({ ...flags, padding, texts, signal, onProgress: showProgress(texts.length) }),
  );
  if (!embedded) {
    console.error("minidiff: interrupted; nothing was written");
    process.exitCode = exitStatus.interrupted;
    return;
  }
  const { tokens, width } = embedded;
  const seconds = (performance.now() - start) / 1000;
  const rows = tokens[0] === tokens[1] ? `${tokens[0]}` : `${tokens[0]} to ${tokens[1]}`;
  console.log(
    `${embedded.instructions} instructions, ${rows} × ${width} each, in ${seconds.toFixed(1)} s → ${flags.out}`,
  );
}

// A line that is drawn anew on a terminal; elsewhere one every ten seconds, and the last.
function showProgress(total: number): (done: number) => void {
  const { stderr } = process;
  let [start, shown] = [0, 0];
  return (done) => {
    const now = performance.now();
    const last = done === total;
    if (done === 0) start = shown = now;
    if (done === 0 || (!stderr.isTTY && !last && now - shown < 10_000)) return;
    shown = now;
    const left = formatSeconds((((now - start) / done) * (total - done)) / 1000);
    const line = `${done}/${total} instructions, ${left} left`;
    stderr.write(stderr.isTTY ? `\r\x1b[2K${line}${last ? "\n" : ""}` : `${line}\n`);
  };
}
