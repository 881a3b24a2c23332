import { native } from "@md/native";
import { defineConfig } from "vitest/config";

const conditions = ["@md/source", "node", "import", "module", "default"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    pool: "forks",
    testTimeout: 60_000,
    maxWorkers: "100%",
    reporters: ["default", "./scripts/summary-reporter.ts"],
    projects: [
      {
        extends: true,
        test: {
          name: "main",
          include: [
            "packages/*/test/**/*.test.ts",
            "native/tests/**/*.test.ts",
            "benchmarks/**/*.test.ts",
            "examples/**/*.test.ts",
            "scripts/**/*.test.ts",
          ],
        },
      },
      // Every op once more on tensors between bands that no kernel may write to.
      {
        extends: true,
        test: {
          name: "guard bands",
          include: ["packages/tensor/test/op-cases.test.ts"],
          env: { MD_GUARD_BANDS: "1" },
          setupFiles: "./packages/tensor/test/support/require-guard-bands.ts",
        },
      },
      // Every op once more on the kernels that the best instruction set hides.
      ...native
        .isas()
        .filter((isa) => isa !== native.isa())
        .map((isa) => ({
          extends: true as const,
          test: {
            name: isa,
            include: ["packages/tensor/test/**/*.test.ts", "scripts/goldens/*.test.ts"],
            env: { MD_ISA: isa },
            setupFiles: "./native/tests/require-isa.ts",
          },
        })),
    ],
  },
});
