import {
  type DeviceName,
  type DType,
  expand,
  type Generator,
  mean,
  rand,
  randint,
  randn,
  reshape,
  scope,
  ShapeError,
  type Tensor,
  unsqueeze,
  ValueError,
} from "@md/tensor";

export interface Level2Options {
  /** B, items of the batch. */
  batchSize: number;
  /** M, noised samples of an item. */
  samples: number;
  /** K: timesteps are drawn from 0 … K - 1. */
  numTrainTimesteps: number;
  /** Shape of one target. */
  shape: readonly number[];
  generator: Generator;
  /** f32 or f64, dtype of the noise. Default f32. */
  dtype?: DType;
  /** Draws timesteps as reals of [0, K) in the noise's dtype, as flow matching does. Default false. */
  continuousTimesteps?: boolean;
  /** Of the noise; the numbers are the same on every device. Default "cpu". */
  device?: DeviceName;
}

/** B·M noise levels and what belongs to them, item-major: row n = i·M + j is sample j of item i, both from 0 (Eq. 8). */
export interface Level2Draws {
  /** B·M. */
  readonly size: number;
  /** k of Eq. 7, [B·M], uniform and independent; i64 unless they are continuous. On the CPU, where the schedule is. */
  readonly timesteps: Tensor;
  /** ε of Eq. 7, [B·M, ...shape], standard normal and independent. */
  readonly noise: Tensor;
  /** Targets or context of the items, [B, …], to [B·M, …]: each item M times in a row (Eq. 9). ShapeError unless B rows. */
  repeat(x: Tensor): Tensor;
  /** The mean over samples [B·M] of their losses (Eq. 10), a scalar. ShapeError for any other shape. */
  meanLoss(losses: Tensor): Tensor;
}

/**
 * Level-2 batching (Mini-Diffuser, Eqs. 6-10): every item of a batch is trained at M noise levels at once, while its
 * condition is encoded once. All B·M pairs of timestep and noise are independent draws.
 *
 * @throws ValueError unless batchSize, samples and numTrainTimesteps are integers of at least 1
 */
export function drawLevel2(options: Level2Options): Level2Draws {
  const {
    batchSize,
    samples,
    numTrainTimesteps,
    shape,
    generator,
    dtype = "f32",
    continuousTimesteps = false,
    device,
  } = options;
  for (const [name, value] of Object.entries({ batchSize, samples, numTrainTimesteps })) {
    if (!(Number.isSafeInteger(value) && value >= 1)) {
      throw new ValueError(`[drawLevel2] ${name} is ${value}, expected an integer of at least 1`);
    }
  }
  const size = batchSize * samples;
  return {
    size,
    timesteps: continuousTimesteps
      ? rand([size], { low: 0, high: numTrainTimesteps, dtype, generator })
      : randint(0, numTrainTimesteps, [size], { generator }),
    noise: randn([size, ...shape], { dtype, generator, device }),
    repeat(x) {
      if (x.shape[0] !== batchSize) {
        throw new ShapeError(`[drawLevel2] repeat: shape is [${x.shape}], expected ${batchSize} rows`);
      }
      const row = x.shape.slice(1);
      return scope(() => reshape(expand(unsqueeze(x, 1), [batchSize, samples, ...row]), [size, ...row]));
    },
    meanLoss(losses) {
      if (losses.rank !== 1 || losses.size !== size) {
        throw new ShapeError(`[drawLevel2] meanLoss: shape is [${losses.shape}], expected [${size}]`);
      }
      return mean(losses);
    },
  };
}
