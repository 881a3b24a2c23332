// Imports run downward only: node scripts/check-floors.mjs [ROOT]. Prints each import or include that breaks a floor.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

// What a package may import of ours. Data packages know tensors as typed arrays only.
const below = {
  native: [],
  tensor: ["native"],
  pickle: [],
  nn: ["native", "tensor", "pickle"],
  diffusion: ["native", "tensor", "nn"],
  "rlbench-data": ["pickle"],
  sim: [],
  train: ["native", "tensor", "pickle", "nn", "diffusion", "rlbench-data", "sim"],
};
const topFolders = ["benchmarks", "examples", "scripts"];
const skipped = new Set(["node_modules", "dist", "build", "prebuilds", "runs", "coverage"]);

const root = resolve(process.argv[2] ?? join(dirname(fileURLToPath(import.meta.url)), ".."));
const violations = [];

function* filesOf(folder, pattern) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && !skipped.has(entry.name)) yield* filesOf(path, pattern);
    else if (entry.isFile() && pattern.test(entry.name)) yield path;
  }
}

function report(file, text, position, problem) {
  const line = text.slice(0, position).split("\n").length;
  violations.push(`${relative(root, file)}:${line}: ${problem}`);
}

const inside = (folder, path) => path.startsWith(folder + sep);
const folderOf = (name) => join(root, name === "native" ? "native" : join("packages", name));

// Whether "@md/name/sub" is among the package's exports.
function isExported(name, subpath) {
  const manifest = join(folderOf(name), "package.json");
  const { exports = {} } = existsSync(manifest) ? JSON.parse(readFileSync(manifest, "utf8")) : {};
  return Object.hasOwn(exports, subpath ? `./${subpath}` : ".");
}

function checkImport(file, specifier, owner) {
  const [, name, subpath] = /^@md\/([^/]+)(?:\/(.+))?$/.exec(specifier) ?? [];
  if (name === undefined) return specifier.startsWith(".") ? checkRelative(file, specifier, owner) : undefined;
  if (!isExported(name, subpath)) return `${specifier} is not exported by its package`;
  if (owner !== undefined && owner !== name && !below[owner].includes(name))
    return `@md/${owner} stands below or beside @md/${name}`;
  return undefined;
}

function checkRelative(file, specifier, owner) {
  const target = resolve(dirname(file), specifier);
  if (owner !== undefined) {
    return inside(folderOf(owner), target)
      ? undefined
      : `${specifier} leaves the package; import what it exports by name`;
  }
  const other = Object.keys(below).find((name) => inside(join(folderOf(name), "src"), target));
  return other && `${specifier} reaches into the sources of @md/${other}; import what it exports by name`;
}

function checkModules(folder, owner) {
  for (const file of filesOf(folder, /\.[cm]?[jt]s$/)) {
    const text = readFileSync(file, "utf8");
    for (const { fileName, pos } of ts.preProcessFile(text, true, true).importedFiles) {
      const problem = checkImport(file, fileName, owner);
      if (problem) report(file, text, pos, problem);
    }
  }
}

const nodeHeader = /^(napi|node_api|node_api_types|js_native_api|uv|node)\.h$/;
const intrinsicsHeader = /^(\w*mmintrin|immintrin|x86intrin|x86gprintrin|arm_neon)\.h$/;
const intrinsic = /\b(_mm\d*_\w+|__m(?:64|128|256|512)[di]?|__builtin_ia32_\w+)\b/g;

function checkNative() {
  for (const file of filesOf(join(root, "native"), /\.(h|cpp|cu)$/)) {
    const text = readFileSync(file, "utf8");
    const [part] = relative(join(root, "native"), file).split(sep);
    for (const { 1: header, index } of text.matchAll(/^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]/gm)) {
      if (part !== "binding" && nodeHeader.test(header))
        report(file, text, index, `only native/binding includes ${header}`);
      if (part !== "isa" && intrinsicsHeader.test(header))
        report(file, text, index, `only native/isa includes ${header}`);
      const [target] = relative(join(root, "native"), resolve(dirname(file), header)).split(sep);
      if (part !== "binding" && target === "binding")
        report(file, text, index, `native/${part} stands below native/binding`);
      if ((part === "core" || part === "isa") && target === "ops")
        report(file, text, index, `native/${part} stands below native/ops`);
    }
    if (part === "isa") continue;
    for (const { 0: name, index } of text.matchAll(intrinsic))
      report(file, text, index, `only native/isa uses ${name}`);
  }
}

for (const name of Object.keys(below)) checkModules(folderOf(name), name);
for (const folder of topFolders) checkModules(join(root, folder), undefined);
checkNative();

for (const violation of violations) console.error(violation);
console.log(
  violations.length === 0 ? "floors: imports run downward" : `floors: ${violations.length} imports do not run downward`,
);
process.exitCode = violations.length === 0 ? 0 : 1;
