export { SafetensorsError } from "./error.js";
export {
  parseSafetensorsHeader,
  type SafetensorsDType,
  type SafetensorsEntry,
  type SafetensorsHeader,
} from "./header.js";
export { type HostTensor, readSafetensors, readSafetensorsArrays, SafetensorsFile, widenHalves } from "./read.js";
export { writeSafetensors } from "./write.js";
