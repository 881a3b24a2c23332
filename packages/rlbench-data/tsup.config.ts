import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    "convert-worker": "src/formats/compact/convert-worker.ts",
    "export-worker": "src/formats/lerobot/export-worker.ts",
    "loader-worker": "src/loader/loader-worker.ts",
    "prepare-worker": "src/loader/prepare-worker.ts",
  },
  format: "esm",
  dts: true,
  clean: true,
  sourcemap: true,
  target: "node20",
});
