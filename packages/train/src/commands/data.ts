import type { Command } from "commander";
import { addDataConvert } from "./data-convert.js";
import { addDataInfo } from "./data-info.js";

/** `minidiff data`. */
export function addData(program: Command): void {
  const data = program.command("data").description("look at and convert demonstrations");
  for (const add of [addDataInfo, addDataConvert]) add(data);
}
