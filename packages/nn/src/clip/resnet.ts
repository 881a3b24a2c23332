import { avgPool2d, relu, ShapeError, type Tensor, tensor } from "@md/tensor";
import { Sequential } from "../containers.js";
import * as init from "../init.js";
import { Conv2d } from "../layers/conv2d.js";
import { BatchNorm2d } from "../layers/norms.js";
import type { RandomLayerOptions } from "../layers/options.js";
import { Module } from "../module.js";
import { AttentionPool2d } from "./attention-pool.js";
import { Bottleneck, EXPANSION } from "./bottleneck.js";

/** Sizes of an image model. Defaults are those of RN50. */
export interface ClipResNetSizes {
  /** Blocks of the four stages. Default [3, 4, 6, 3]. */
  layers?: readonly [number, number, number, number];
  /** Channels behind the stem. Default 64. */
  width?: number;
  /** Features of the pooled image. Default 1024. */
  embedDim?: number;
  /** Heads of the pooling. Default width / 2. */
  heads?: number;
  /** Side, in pixels, of the images that `forward` takes. Default 224. */
  resolution?: number;
}

/**
 * Maps of an image, fine to coarse, at 1/2, 1/4, 1/8, 1/16 and 1/32 of its side; with RN50 of 64, 256, 512, 1024 and 2048
 * channels.
 */
export interface ClipFeatureMaps {
  res1: Tensor;
  res2: Tensor;
  res3: Tensor;
  res4: Tensor;
  res5: Tensor;
}

/**
 * CLIP's image model of the ResNet kind (Radford et al., 2021; `ModifiedResNet` of OpenAI's `clip/model.py`), with its
 * names and initial values: a stem of three convolutions, average poolings where a ResNet strides, attention in place of
 * the last pooling. Published weights are meant for `eval()`.
 */
export class ClipResNet extends Module {
  /** Channels of {@link maps}. */
  readonly mapChannels: readonly number[];
  readonly conv1: Conv2d;
  readonly bn1: BatchNorm2d;
  readonly conv2: Conv2d;
  readonly bn2: BatchNorm2d;
  readonly conv3: Conv2d;
  readonly bn3: BatchNorm2d;
  readonly layer1: Sequential;
  readonly layer2: Sequential;
  readonly layer3: Sequential;
  readonly layer4: Sequential;
  readonly attnpool: AttentionPool2d;

  constructor({
    layers = [3, 4, 6, 3],
    width = 64,
    embedDim = 1024,
    heads = width / 2,
    resolution = 224,
    ...options
  }: ClipResNetSizes & RandomLayerOptions) {
    super();
    const [conv, norm] = [{ ...options, bias: false, padding: 1 }, { dtype: options.dtype }];
    const half = width / 2;
    this.mapChannels = [width, ...[1, 2, 4, 8].map((factor) => factor * EXPANSION * width)];
    this.conv1 = new Conv2d(3, half, 3, { ...conv, stride: 2 });
    this.bn1 = new BatchNorm2d(half, norm);
    this.conv2 = new Conv2d(half, half, 3, conv);
    this.bn2 = new BatchNorm2d(half, norm);
    this.conv3 = new Conv2d(half, width, 3, conv);
    this.bn3 = new BatchNorm2d(width, norm);
    const stage = (i: number): Sequential => {
      const blocks = Array.from({ length: layers[i]! }, (_, j) => {
        const first = j === 0;
        const inChannels = this.mapChannels[first ? i : i + 1]!;
        return new Bottleneck(inChannels, width * 2 ** i, first && i > 0 ? 2 : 1, options);
      });
      for (const { bn3 } of blocks) init.zeros(bn3.weight!);
      return new Sequential(...blocks);
    };
    this.layer1 = stage(0);
    this.layer2 = stage(1);
    this.layer3 = stage(2);
    this.layer4 = stage(3);
    this.attnpool = new AttentionPool2d(resolution / 32, this.mapChannels[4]!, heads, embedDim, options);
  }

  /**
   * The maps that 3D Diffuser Actor's `ModifiedResNetFeatures` gives to its feature pyramid.
   *
   * @param images [batch, 3, height, width], normalised by {@link normalizeClipImages}
   */
  maps(images: Tensor): ClipFeatureMaps {
    if (images.rank !== 4 || images.shape[1] !== 3)
      throw new ShapeError(`[ClipResNet] images have shape [${images.shape}], expected [batch, 3, height, width]`);
    const stem1 = relu(this.bn1.forward(this.conv1.forward(images)));
    const stem2 = relu(this.bn2.forward(this.conv2.forward(stem1)));
    const res1 = relu(this.bn3.forward(this.conv3.forward(stem2)));
    const res2 = this.layer1.forward(avgPool2d(res1, 2));
    const res3 = this.layer2.forward(res2);
    const res4 = this.layer3.forward(res3);
    return { res1, res2, res3, res4, res5: this.layer4.forward(res4) };
  }

  /** Images [batch, 3, resolution, resolution] as vectors [batch, embedDim] in the space of texts. Not normalised. */
  forward(images: Tensor): Tensor {
    return this.attnpool.forward(this.maps(images).res5);
  }
}

// Of the images that CLIP was trained on, red, green, blue (OpenAI's `clip/clip.py`).
const MEAN = [0.48145466, 0.4578275, 0.40821073];
const STD = [0.26862954, 0.26130258, 0.27577711];

/** Colours in [0, 1], [batch, 3, height, width], as CLIP's image models take them: less their mean, over their deviation. */
export function normalizeClipImages(images: Tensor): Tensor {
  const { dtype, device } = images;
  const channel = (values: readonly number[]): Tensor => tensor(values, { shape: [3, 1, 1], dtype, device });
  return images.sub(channel(MEAN)).div(channel(STD));
}
