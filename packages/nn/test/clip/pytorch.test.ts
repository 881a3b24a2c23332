import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compareNumbers, tensor } from "@md/tensor";
import { afterAll, expect, it } from "vitest";
import { loadClipTextModel } from "../../src/index.js";

const folder = mkdtempSync(join(tmpdir(), "clip-pytorch-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// A text model of PyTorch's own layers, traced and saved in half precision, as OpenAI's archives are.
const script = `
import json, sys
from collections import OrderedDict
import torch
from torch import nn

WIDTH, HEADS, CONTEXT, VOCABULARY, EMBED = 128, 2, 7, 30, 6

class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, HEADS)
        self.ln_1 = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(OrderedDict(
            c_fc=nn.Linear(WIDTH, 4 * WIDTH), gelu=QuickGELU(), c_proj=nn.Linear(4 * WIDTH, WIDTH)))
        self.ln_2 = nn.LayerNorm(WIDTH)
        self.attn_mask = torch.full((CONTEXT, CONTEXT), float("-inf")).triu(1)
    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=self.attn_mask)[0]
        return x + self.mlp(self.ln_2(x))

class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.resblocks = nn.Sequential(Block(), Block(), Block())
    def forward(self, x):
        return self.resblocks(x)

class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.transformer = Transformer()
        self.token_embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, WIDTH))
        self.ln_final = nn.LayerNorm(WIDTH)
        self.text_projection = nn.Parameter(torch.randn(WIDTH, EMBED))
    def forward(self, ids):
        x = self.token_embedding(ids) + self.positional_embedding
        x = self.ln_final(self.transformer(x.permute(1, 0, 2)).permute(1, 0, 2))
        return x, x[torch.arange(len(ids)), ids.argmax(dim=-1)] @ self.text_projection

torch.manual_seed(3)
net = Text().eval()
for value in net.parameters():
    value.data = (torch.randn_like(value) * 0.1 + 0.02).half().float()
ids = torch.tensor([[28, 4, 9, 17, 29, 0, 0], [28, 1, 29, 0, 0, 0, 0]])
features, pooled = net(ids)
torch.jit.trace(net, ids).half().save(sys.argv[1])
json.dump([ids.tolist(), features.tolist(), pooled.tolist()], open(sys.argv[2], "w"))
`;

it("gives what PyTorch gives, from an archive that PyTorch wrote", { timeout: 120_000 }, (ctx) => {
  const [source, archive, expected] = ["model.py", "model.pt", "expected.json"].map((name) => join(folder, name));
  writeFileSync(source!, script);
  const run = spawnSync("/usr/bin/python3", [source!, archive!, expected!], { encoding: "utf8" });
  if (run.error || run.stderr.includes("No module named 'torch'")) ctx.skip("/usr/bin/python3 has no torch");
  expect(run.stderr).not.toContain("Error");
  const [ids, features, pooled] = JSON.parse(readFileSync(expected!, "utf8")) as [number[][], number[][][], number[][]];
  using model = loadClipTextModel(archive!);
  const found = model.forward(tensor(Int32Array.from(ids.flat()), { shape: [2, 7] }));
  expect(found.shape).toEqual([2, 7, 128]);
  compareNumbers("features", found.toFlatArray(), features.flat(2), 2e-5);
  compareNumbers("pooled", model.pool(found, [4, 2]).toFlatArray(), pooled.flat(), 2e-5);
});
