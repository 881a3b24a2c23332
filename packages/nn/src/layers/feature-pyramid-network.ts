import { indexSelect, ShapeError, type Tensor, tensor } from "@md/tensor";
import { ModuleList, Sequential } from "../containers.js";
import * as init from "../init.js";
import { Module } from "../module.js";
import { Conv2d } from "./conv2d.js";
import type { RandomLayerOptions } from "./options.js";

/**
 * Feature pyramid (Lin et al., 2017), as torchvision's module of that name: each level is a 1×1 convolution of its map
 * plus the coarser level, enlarged by nearest neighbours; a 3×3 convolution of the sum is what is given out. Names are
 * those of torchvision since 0.13 (`inner_blocks.0.0.weight`).
 */
export class FeaturePyramidNetwork extends Module {
  readonly innerBlocks: ModuleList<Sequential>;
  readonly layerBlocks: ModuleList<Sequential>;

  /** @param inChannels channels of each map, fine to coarse */
  constructor(
    readonly inChannels: readonly number[],
    readonly outChannels: number,
    options: RandomLayerOptions,
  ) {
    super();
    const block = (channels: number, kernel: number): Sequential => {
      const layer = new Conv2d(channels, outChannels, kernel, { ...options, padding: (kernel - 1) / 2 });
      init.kaimingUniform(layer.weight, { generator: options.generator, a: 1 });
      init.zeros(layer.bias!);
      return new Sequential(layer);
    };
    this.innerBlocks = this.registerModule("inner_blocks", new ModuleList(inChannels.map((count) => block(count, 1))));
    this.layerBlocks = this.registerModule("layer_blocks", new ModuleList(inChannels.map(() => block(outChannels, 3))));
  }

  /**
   * Maps of the pyramid, fine to coarse: [batch, inChannels[i], height_i, width_i] -> [batch, outChannels, height_i,
   * width_i].
   */
  forward(maps: readonly Tensor[]): Tensor[] {
    if (maps.length !== this.inChannels.length)
      throw new ShapeError(`[FeaturePyramidNetwork] found ${maps.length} maps, expected ${this.inChannels.length}`);
    const levels: Tensor[] = [];
    let inner: Tensor | null = null;
    for (let i = maps.length - 1; i >= 0; i--) {
      const lateral: Tensor = this.innerBlocks.at(i).forward(maps[i]!);
      inner = inner ? lateral.add(resizeNearest(inner, lateral.shape[2]!, lateral.shape[3]!)) : lateral;
      levels.unshift(this.layerBlocks.at(i).forward(inner));
    }
    return levels;
  }
}

function resizeNearest(x: Tensor, height: number, width: number): Tensor {
  return indexSelect(indexSelect(x, 2, nearest(x, 2, height)), 3, nearest(x, 3, width));
}

// PyTorch computes the scale and the product in f32.
function nearest(x: Tensor, axis: number, to: number): Tensor {
  const from = x.shape[axis]!;
  const scale = Math.fround(from / to);
  const rows = Int32Array.from({ length: to }, (_, i) => Math.min(Math.floor(Math.fround(i * scale)), from - 1));
  return tensor(rows, { device: x.device });
}
