import "./methods.js";

export * from "@md/native/errors";
export { detectAnomaly } from "./anomaly.js";
export { backward, defineOp, noGrad } from "./autograd.js";
export { type DType, dtypes, type HostArray, type HostArrays } from "./dtype.js";
export * from "./memory.js";
export * from "./ops/create.js";
export * from "./ops/elementwise.js";
export * from "./ops/reduce.js";
export * from "./ops/views.js";
export { Profile, profile, type ProfileRow } from "./profile.js";
export { scope } from "./scope.js";
export { type Device, Tensor } from "./tensor.js";
export * from "./testing/gradcheck.js";
export * from "./testing/op-case.js";
