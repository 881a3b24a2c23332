export { ConfigKeyError, type Field, type Fields } from "./config.js";
export { type DiffuserActorConfig } from "./diffuser-actor/config.js";
export { type ActorStep, assignStep, DiffuserActor, diffuserActor } from "./diffuser-actor/diffuser-actor.js";
export type { ActorStack, EncodedActorScene } from "./diffuser-actor/network.js";
export { drawLevel2, type Level2Draws, type Level2Options } from "./level2.js";
export { type ActionLayout, type BlockMemory, type ConditionLayout, NonInvasiveBlock } from "./light/block.js";
export type { MiniDiffuserLightConfig } from "./light/config.js";
export { type EncodedScene, MiniDiffuserLight, miniDiffuserLight } from "./light/mini-diffuser-light.js";
export { createObjective, type NoiseProcess, type Objective, type ObjectiveName, objectives } from "./objective.js";
export type { Compat, MiniDiffuserConfig, ResolvedMiniDiffuserConfig } from "./mini-diffuser/config.js";
export {
  type ActionTargets,
  type EncodedObservation,
  MiniDiffuser,
  miniDiffuser,
  type MiniDiffuserDraws,
} from "./mini-diffuser/mini-diffuser.js";
export type { NeckMemory, QueryGrids } from "./mini-diffuser/neck.js";
export type { NeckKeys } from "./mini-diffuser/neck-attention.js";
export { type EncodedScenes, MiniDiffuserNetwork, type SceneTensors } from "./mini-diffuser/network.js";
export { releasedNames } from "./mini-diffuser/released-names.js";
export * from "./policy.js";
export { getPolicy, importPolicy, policyNames, registerPolicy } from "./registry.js";
export type { PositionBounds } from "./positions.js";
export {
  ROTATION_BINS,
  rotation6dOfBins,
  rotation6dOfQuaternions,
  rotation6dToBins,
  rotation6dToQuaternions,
} from "./rotation.js";
export {
  createSampler,
  runSampler,
  type Sampler,
  type Solver,
  SolverError,
  type SolverOptions,
  solvers,
  solversFor,
} from "./sampler.js";
export * from "./schedulers/index.js";
