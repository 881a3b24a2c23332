// Setup of the tests whose tensors lie between guard bands: there alone a tensor takes as many bytes as it has.
import { expect } from "vitest";
import { memory, scope, tensor } from "../../src/index.js";

const before = memory().liveBytes;
scope(() => {
  tensor([1, 2, 3]);
  expect(memory().liveBytes - before).toBe(12);
});
