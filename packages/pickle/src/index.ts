export { PickleError } from "./errors.js";
export { bfloat16ToFloat32, float16ToFloat32 } from "./half.js";
export type { PickleLimits, UnpickleOptions } from "./options.js";
export {
  type Picklable,
  pickle,
  pyArray,
  pyCall,
  pyFloat,
  pyGlobal,
  pyInstance,
  pyPersistent,
  pyTuple,
} from "./pickler.js";
export { type PickleWithTensors, unpickleWithTensors } from "./torch/embedded.js";
export { encodeTorchCheckpoint, MAX_TORCH_BYTES, type WritableTorchArray } from "./torch/encode.js";
export { TorchCheckpointError } from "./torch/error.js";
export { parseTorchCheckpoint, type TorchArray, type TorchCheckpoint } from "./torch/parse.js";
export { unpickle } from "./unpickler.js";
export { describeValue, NdArray, PickleObject, type PickleValue, TorchStorage, TorchTensor } from "./values.js";
