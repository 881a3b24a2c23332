import { ValueError } from "@md/tensor";

// What diffusers writes beside the keys that we have: neutral values, and keys without meaning while those are neutral.
const diffusersOnly: Record<string, (value: unknown) => boolean> = {
  trained_betas: (value) => value === null,
  thresholding: (value) => value === false,
  rescale_betas_zero_snr: (value) => value === false,
  dynamic_thresholding_ratio: () => true,
  sample_max_value: () => true,
};

/**
 * The camelCase form of a diffusers `scheduler_config.json`. Keys that start with an underscore are its bookkeeping.
 *
 * @throws ValueError for trained betas, thresholding or zero-SNR rescaling, which the schedulers here do not have
 */
export function fromDiffusersConfig(owner: string, json: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const config: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(json)) {
    if (key.startsWith("_")) continue;
    if (!Object.hasOwn(diffusersOnly, key)) {
      config[key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())] = value;
    } else if (!diffusersOnly[key]!(value)) {
      throw new ValueError(`[${owner}] "${key}" is ${JSON.stringify(value)}, which is not supported`);
    }
  }
  return config;
}
