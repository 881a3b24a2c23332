import type { Command } from "commander";
import { addDataConvert } from "./data-convert.js";
import { addDataEmbed } from "./data-embed.js";
import { addDataInfo } from "./data-info.js";
import { addDataShow } from "./data-show.js";

/** `minidiff data`. */
export function addData(program: Command): void {
  const data = program.command("data").description("look at, convert and prepare demonstrations");
  for (const add of [addDataInfo, addDataShow, addDataConvert, addDataEmbed]) add(data);
}
