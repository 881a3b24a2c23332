import type { InstructionEmbedding } from "../instruction-embedding.js";
import type { KeyPoseDataset } from "../key-pose-dataset.js";
import type { PointCloud } from "../point-cloud.js";

// Memory that all threads see: a message to a worker refers to it, where it would copy any other.
function share(array: Float32Array): Float32Array {
  if (array.buffer instanceof SharedArrayBuffer) return array;
  const shared = new Float32Array(new SharedArrayBuffer(array.byteLength));
  shared.set(array);
  return shared;
}

/** The cloud in memory that threads share; the same arrays where they are there already. */
export function shareCloud({ positions, colors }: PointCloud): PointCloud {
  return { positions: share(positions), colors: share(colors) };
}

/** The embedding in memory that threads share; the same array where it is there already. */
export function shareEmbedding({ tokens, data }: InstructionEmbedding): InstructionEmbedding {
  return { tokens, data: share(data) };
}

/** The data set in memory that threads share. What `prepareKeyPoses` made is there already. */
export function shareDataset({ samples, instructionDim }: KeyPoseDataset): KeyPoseDataset {
  const known = new Map<InstructionEmbedding, InstructionEmbedding>();
  const shareOnce = (embedding: InstructionEmbedding): InstructionEmbedding => {
    const shared = known.get(embedding) ?? shareEmbedding(embedding);
    known.set(embedding, shared);
    return shared;
  };
  return {
    samples: samples.map((sample) => ({
      ...sample,
      embeddings: sample.embeddings.map(shareOnce),
      cloud: shareCloud(sample.cloud),
    })),
    instructionDim,
  };
}
