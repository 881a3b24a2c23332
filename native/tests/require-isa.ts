// Setup of the tests that run on the kernels of one instruction set: they must not pass on others.
import { expect } from "vitest";
import { native } from "@md/native";

expect(native.isa()).toBe(process.env["MD_ISA"]);
