import { ValueError } from "@md/tensor";

/** Keys that diffusers has and we do not, and whether a value changes nothing. */
export type NeutralKeys = Readonly<Record<string, (value: unknown) => boolean>>;

/** Of the schedulers with betas. */
export const neutralBetaKeys: NeutralKeys = {
  trained_betas: (value) => value === null,
  thresholding: (value) => value === false,
  rescale_betas_zero_snr: (value) => value === false,
  dynamic_thresholding_ratio: () => true,
  sample_max_value: () => true,
};

/**
 * The camelCase form of a diffusers `scheduler_config.json`. Keys that start with an underscore are its bookkeeping.
 *
 * @throws ValueError for what the schedulers here do not have, such as trained betas, thresholding or zero-SNR rescaling
 */
export function fromDiffusersConfig(
  owner: string,
  json: Readonly<Record<string, unknown>>,
  neutral: NeutralKeys = neutralBetaKeys,
): Record<string, unknown> {
  const config: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(json)) {
    if (key.startsWith("_")) continue;
    if (!Object.hasOwn(neutral, key)) {
      config[key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())] = value;
    } else if (!neutral[key]!(value)) {
      throw new ValueError(`[${owner}] "${key}" is ${JSON.stringify(value)}, which is not supported`);
    }
  }
  return config;
}
