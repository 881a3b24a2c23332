export { collate, type CollateOptions, type KeyPoseBatch, type StateBatch, type VariableBatch } from "./batch.js";
export * from "./dataset-info.js";
export * from "./demonstration.js";
export { bytesInMemory, type ByteSource, withFileBytes } from "./byte-source.js";
export { drawBatch, type DrawOptions, type DrawRunOptions, drawVariableBatch } from "./draw-batch.js";
export type { TaskWeights } from "./epoch-order.js";
export * from "./episode-source.js";
export * from "./errors.js";
export * from "./formats/compact/convert.js";
export { exportLeRobot, type LeRobotExportOptions } from "./formats/lerobot/export.js";
export { decodeBlosc } from "./formats/blosc.js";
export { LmdbReader } from "./formats/lmdb.js";
export { decodeMsgpack, type MsgpackValue } from "./formats/msgpack-numpy.js";
export * from "./instruction-embedding.js";
export {
  type KeyPoseDataset,
  type KeyPoseDatasetOptions,
  type KeyPoseSample,
  type StateOptions,
  positionBounds,
  prepareKeyPoses,
} from "./key-pose-dataset.js";
export * from "./key-poses.js";
export { keySteps } from "./key-steps.js";
export { loadKeyPoses, type LoadKeyPosesOptions } from "./loader/load-key-poses.js";
export type { EpisodeOptions } from "./loader/prepare-episode.js";
export { observationCloud } from "./observation-cloud.js";
export {
  type BatchLoader,
  loadBatches,
  type LoaderOptions,
  loadVariableBatches,
  MAX_PREFETCH,
} from "./loader/loader.js";
export * from "./open-dataset.js";
export { centerCloud, centroid, heightFeature, scaleColors } from "./pipeline/features.js";
export { removeLocalOutliers, removeStatisticalOutliers } from "./pipeline/outliers.js";
export { prepareCloud, type PrepareOptions, type RobotRemoval } from "./pipeline/prepare.js";
export { prepareRgbd, type RgbdImage, type RgbdOptions, rgbdPointCloud } from "./pipeline/rgbd.js";
export { type Sampling, samplePointsNear } from "./pipeline/sampling.js";
export * from "./point-cloud.js";
export * from "./random.js";
export { decodePng, encodePng, readDepthPng, readPng, type RgbImage } from "./png.js";
export { readPickle } from "./read-pickle.js";
export * from "./rlbench/camera.js";
export { type Episode, openRLBench, parseEpisodes, type RLBenchRoot, selectEpisodes } from "./rlbench/episodes.js";
export { readInstructionTexts } from "./rlbench/instruction-list.js";
export * from "./rlbench/instructions.js";
export * from "./rlbench/low-dim.js";
export { toRLBenchEpisode } from "./rlbench/source.js";
export * from "./robot/link-box.js";
export { pandaLinkBoxes, pandaTipPose } from "./robot/panda.js";
export type { Pose } from "./robot/pose.js";
export { storedLinkBox } from "./robot/stored-boxes.js";
export * from "./rotation.js";
export { type InstructionLists, readInstructionLists } from "./taskvar.js";
export { makeReachEpisode, type ReachEpisode, SYNTHETIC_TASK, toDemonstration } from "./synthetic/episode.js";
export { renderScene, SYNTHETIC_CAMERAS, SYNTHETIC_IMAGE_SIZE } from "./synthetic/ray-cast.js";
export {
  makeReachScene,
  type ReachScene,
  type Sphere,
  SPHERE_COLORS,
  type SphereColor,
  TABLE as SYNTHETIC_TABLE,
} from "./synthetic/scene.js";
export { readReachScene, type SyntheticReachOptions, writeSyntheticReach } from "./synthetic/write.js";
