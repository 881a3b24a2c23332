import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { convertDataset, openDataset, type RecordedEpisode } from "@md/rlbench-data";
import { afterAll, expect, it } from "vitest";
import { showPage } from "../src/show/page.js";
import { MAX_POINTS } from "../src/show/scene.js";
import { makeFixture } from "./support/fixture.js";

const { folder, data, remove } = makeFixture(2);
afterAll(remove);
const goldens = process.env.MD_GOLDENS ?? fileURLToPath(new URL("../../../../shared/goldens", import.meta.url));

async function firstEpisode(root: string): Promise<RecordedEpisode> {
  const source = openDataset(root);
  return source.readEpisode(source.listEpisodes()[0]!);
}

interface SceneJson {
  clouds: { positions: string; colors: string }[];
  lines: { positions: number[] };
  markers: { positions: number[] };
  labels: { text: string }[];
}

const sceneOf = (page: string): SceneJson =>
  JSON.parse(/<script type="application\/json" id="scene">(.*?)<\/script>/s.exec(page)![1]!) as SceneJson;

it("shows images, clouds, path and key poses of an episode, and no more than the bound", async () => {
  const episode = await firstEpisode(data);
  const page = showPage(episode, "rlbench");
  const { clouds, markers, labels, lines } = sceneOf(page);
  const steps = episode.keyFrames.length + 1;
  expect(clouds).toHaveLength(steps);
  expect(labels.map(({ text }) => text)).toEqual(["start", ...episode.keyFrames.map((_, k) => String(k + 1))]);
  const key = episode.keyPoses.at(-1)!.position;
  expect(markers.positions.slice(-3)).toEqual([...key]);
  expect(lines.positions.length).toBeGreaterThanOrEqual(6 * (episode.states.length - 1));
  for (const { positions, colors } of clouds) {
    const points = Buffer.from(colors, "base64").length / 3;
    expect(Buffer.from(positions, "base64")).toHaveLength(6 * points);
    expect(points).toBeGreaterThan(100);
    expect(points).toBeLessThanOrEqual(MAX_POINTS);
  }
  expect(page.match(/<img /g)).toHaveLength(steps * episode.cameras.length);
  expect(page).toContain(episode.instructions.texts[0]);
  expect(page).toContain("The path goes through every recorded frame.");
  expect(page).not.toContain(folder);
  expect(page).not.toMatch(/(src|href)="(?!data:)/);
});

it("escapes what files say", async () => {
  const episode = await firstEpisode(data);
  const text = `</script><script>alert("x")</script>`;
  const page = showPage({ ...episode, instructions: { ...episode.instructions, texts: [text] } }, "rlbench");
  expect(page).not.toContain(text);
  expect(page).toContain("&#60;/script&#62;");
});

it("rounds to three decimals, and no number to minus zero", async () => {
  const episode = await firstEpisode(data);
  const states = episode.states.map((state) => ({ ...state, position: [-0.0004, -0.0006, 1.23456] as const }));
  expect(showPage({ ...episode, states: states as never }, "rlbench")).toContain("<td>0.000, -0.001, 1.235</td>");
});

it("says what an episode of key steps lacks", async () => {
  const compact = join(folder, "compact");
  await convertDataset({ from: data, to: compact });
  const page = showPage(await firstEpisode(compact), "compact");
  expect(page).toContain("The episode has no frames between key steps, so the path is made of straight lines.");
});

it.for(["3d-lotus", "3d-diffuser-actor"] as const)("shows %s", async (format, ctx) => {
  const formats = join(goldens, "formats");
  const folders = existsSync(formats) ? readdirSync(formats, { withFileTypes: true }) : [];
  const roots = folders.filter((entry) => entry.isDirectory()).map(({ name }) => join(formats, name));
  const isOfFormat = (folder: string): boolean => {
    try {
      return openDataset(folder).format === format;
    } catch {
      return false;
    }
  };
  const root = roots.find(isOfFormat);
  if (root === undefined) return ctx.skip(`${formats} has no folder of ${format}`);
  const episode = await firstEpisode(root);
  const page = showPage(episode, format);
  const seen = episode.readFrame(0).kind;
  expect(sceneOf(page).clouds).toHaveLength(episode.states.length);
  if (seen === "cloud") expect(page).toContain("there are no camera images");
  expect(/<img /.test(page)).toBe(seen !== "cloud");
});

it("writes the page from the command line, whole or not at all", () => {
  const cli = fileURLToPath(new URL("../src/cli.ts", import.meta.url));
  const out = mkdtempSync(join(tmpdir(), "show-"));
  const show = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(
      process.execPath,
      ["--conditions", "@md/source", "--import", "tsx", cli, "data", "show", "--data", data, ...args],
      { encoding: "utf8", timeout: 60_000 },
    );
  const file = join(out, "page.html");
  expect(show("--episode", "1", "--out", file)).toMatchObject({ status: 0 });
  expect(readFileSync(file, "utf8")).toMatch(/^<!doctype html>.*<\/html>\n$/s);
  const none = show("--episode", "7", "--out", join(out, "none.html"));
  expect(none.status).toBe(1);
  expect(none.stderr).toMatch(/has no episode 7 of reach_sphere, only 2, numbered 0 to 1/);
  expect(show("--task", "none", "--out", join(out, "none.html")).stderr).toContain('has no task "none"');
  expect(readdirSync(out)).toEqual(["page.html"]);
  rmSync(out, { recursive: true });
});
