import { avgPool2d, relu, type Tensor } from "@md/tensor";
import { Conv2d } from "../layers/conv2d.js";
import { BatchNorm2d } from "../layers/norms.js";
import type { RandomLayerOptions } from "../layers/options.js";
import { Module } from "../module.js";

/** Channels of a block's output over those of its 3×3 convolution. */
export const EXPANSION = 4;

/** The way around a block whose shape changes; children "0" and "1", behind a pooling that has no weights. */
class Downsample extends Module {
  readonly conv: Conv2d;
  readonly norm: BatchNorm2d;

  constructor(
    inChannels: number,
    outChannels: number,
    readonly stride: number,
    options: RandomLayerOptions,
  ) {
    super();
    this.conv = this.registerModule("0", new Conv2d(inChannels, outChannels, 1, { ...options, bias: false }));
    this.norm = this.registerModule("1", new BatchNorm2d(outChannels, { dtype: options.dtype }));
  }
  forward(x: Tensor): Tensor {
    return this.norm.forward(this.conv.forward(shrink(x, this.stride)));
  }
}

/**
 * Residual block of CLIP's ResNet: [batch, in, height, width] -> [batch, 4 · planes, height / stride, width / stride].
 * Convolutions have stride 1; an average pooling before the last one does the striding.
 */
export class Bottleneck extends Module {
  readonly conv1: Conv2d;
  readonly bn1: BatchNorm2d;
  readonly conv2: Conv2d;
  readonly bn2: BatchNorm2d;
  readonly conv3: Conv2d;
  readonly bn3: BatchNorm2d;
  readonly downsample: Downsample | null;

  constructor(
    inChannels: number,
    planes: number,
    readonly stride: number,
    options: RandomLayerOptions,
  ) {
    super();
    const outChannels = EXPANSION * planes;
    const [conv, norm] = [{ ...options, bias: false }, { dtype: options.dtype }];
    this.conv1 = new Conv2d(inChannels, planes, 1, conv);
    this.bn1 = new BatchNorm2d(planes, norm);
    this.conv2 = new Conv2d(planes, planes, 3, { ...conv, padding: 1 });
    this.bn2 = new BatchNorm2d(planes, norm);
    this.conv3 = new Conv2d(planes, outChannels, 1, conv);
    this.bn3 = new BatchNorm2d(outChannels, norm);
    const changes = stride > 1 || inChannels !== outChannels;
    this.downsample = changes ? new Downsample(inChannels, outChannels, stride, options) : null;
  }
  forward(x: Tensor): Tensor {
    const first = relu(this.bn1.forward(this.conv1.forward(x)));
    const second = relu(this.bn2.forward(this.conv2.forward(first)));
    const third = this.bn3.forward(this.conv3.forward(shrink(second, this.stride)));
    return relu(third.add(this.downsample ? this.downsample.forward(x) : x));
  }
}

const shrink = (x: Tensor, stride: number): Tensor => (stride > 1 ? avgPool2d(x, stride) : x);
