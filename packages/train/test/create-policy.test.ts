import { ConfigKeyError, type PolicyFactory } from "@md/diffusion";
import { OutOfMemoryError, ShapeError } from "@md/tensor";
import { expect, it } from "vitest";
import { resolveConfig } from "../src/config/resolve.js";
import { ConfigError } from "../src/errors.js";
import { createPolicy } from "../src/run/create-policy.js";
import toyPolicy from "./support/toy-policy.js";

const config = resolveConfig([], toyPolicy.defaults);
const statistics = { positionBounds: { min: [-1, -1, -1], max: [1, 1, 1] }, instructionDim: 8 };

/** What is thrown for a policy whose constructor throws `error`. */
function refusal(error: Error): unknown {
  const factory: PolicyFactory = {
    ...toyPolicy,
    create: () => {
      throw error;
    },
  };
  try {
    createPolicy(factory, config, statistics);
  } catch (thrown) {
    return thrown;
  }
  return expect.fail("nothing was thrown");
}

it("names the option that a policy names, and else the policy", () => {
  expect(refusal(new ConfigKeyError("Toy", "noise", "is -1, expected a number of at least 0"))).toEqual(
    new ConfigError("toy", "policy.noise", "is -1, expected a number of at least 0"),
  );
  for (const error of [new ConfigKeyError("Toy", "instructionDim", "is 0"), new ShapeError("[full] shape is bad")])
    expect(refusal(error)).toEqual(new ConfigError("toy", "policy", `cannot be used: ${error.message}`));
});

it("leaves alone what no option is to blame for", () => {
  for (const error of [new OutOfMemoryError("[full] needs 9 bytes"), new TypeError("no function")])
    expect(refusal(error)).toBe(error);
});
