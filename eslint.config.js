import js from "@eslint/js";
import prettier from "eslint-config-prettier";
import tseslint from "typescript-eslint";

const nodeGlobals = [
  "Buffer",
  "clearTimeout",
  "console",
  "performance",
  "process",
  "setImmediate",
  "setTimeout",
  "structuredClone",
  "URL",
];

export default tseslint.config(
  { ignores: ["**/dist/", "**/build/", "**/prebuilds/", "**/runs/", "**/coverage/", "**/.cache/"] },
  js.configs.recommended,
  tseslint.configs.recommended,
  {
    linterOptions: { noInlineConfig: true },
    languageOptions: { globals: Object.fromEntries(nodeGlobals.map((name) => [name, "readonly"])) },
    rules: {
      eqeqeq: "error",
      "@typescript-eslint/ban-ts-comment": ["error", { "ts-expect-error": "allow-with-description" }],
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
      "@typescript-eslint/no-empty-object-type": ["error", { allowInterfaces: "with-single-extends" }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
    },
  },
  {
    // Libraries do not print; programs do.
    files: ["packages/*/src/**/*.ts"],
    ignores: ["packages/train/src/cli.ts", "packages/train/src/commands/**"],
    rules: { "no-console": "error" },
  },
  {
    // Scripts that run in a browser, within the pages that are written.
    files: ["packages/*/pages/**/*.js"],
    languageOptions: { globals: { atob: "readonly", document: "readonly", window: "readonly" } },
  },
  prettier,
);
