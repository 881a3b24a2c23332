// Setup of the tests that run on the portable kernels: they must not pass on others.
import { expect } from "vitest";
import { native } from "@md/native";

expect(native.isa()).toBe("baseline");
