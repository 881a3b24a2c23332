export { type Layer, ModuleDict, ModuleList, Sequential } from "./containers.js";
export { Module } from "./module.js";
export { Parameter } from "./parameter.js";
export * from "./safetensors/index.js";
export { type LoadOptions, type Mismatch, type StateDict, StateDictError } from "./state-dict.js";
