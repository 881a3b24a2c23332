export { TorchCheckpointError } from "@md/pickle";
export { readTorchCheckpoint, readTorchCheckpointArrays, type TorchReadOptions } from "./read.js";
export { writeTorchCheckpoint } from "./write.js";
