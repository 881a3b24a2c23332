import { getNameMap } from "@md/nn";
import { Generator } from "@md/tensor";
import { expect, it } from "vitest";
import { MiniDiffuser, releasedNames } from "../../src/index.js";
import { makePolicy, small } from "./small.js";

it("the released sizes have 17.6 million parameters, each with a released name that leads back", () => {
  const policy = new MiniDiffuser({ compat: "fixed" }, { generator: new Generator(0) });
  expect(policy.numParameters).toBe(17_644_081);
  const state = policy.stateDict();
  expect(state.size).toBe(606);
  const { values, renamed, dropped } = getNameMap("mini-diffuser-released").rename(state, "theirs");
  expect(dropped).toEqual([]);
  expect(values.size).toBe(state.size);
  expect(renamed).toHaveLength(state.size);
  const back = getNameMap("mini-diffuser-released").rename(values, "ours");
  expect([...back.values.keys()].sort()).toEqual([...state.keys()].sort());
  for (const name of values.keys()) expect(name).toMatch(/^(ptv3_model|txt_fc|txt_attn_fc|act_proj_head)\./);
  policy.dispose();
});

it("without compat they have 0.24 million more: keys and values of a sample's own token and of the context", () => {
  const policy = new MiniDiffuser({}, { generator: new Generator(0) });
  expect(policy.numParameters).toBe(17_644_081 + 5 * ((72 + 1) * 144 + (256 + 1) * 144));
  policy.dispose();
});

it("what the paper has and the release has not gets no released name", () => {
  const policy = makePolicy({ ...small, useProprio: true, maxSteps: 3 });
  const { dropped, values } = releasedNames(small).rename(policy.stateDict(), "theirs");
  const unmatched = /^network\.(neck\.\d\.attn\.(own_kv|context_kv)\.(weight|bias)|proprio\..*|step\.weight)$/;
  expect(dropped).toHaveLength(3 * 4 + 4 + 1);
  for (const name of dropped) expect(name).toMatch(unmatched);
  expect(values.size + dropped.length).toBe(policy.stateDict().size);
  policy.dispose();
});

it("levels are counted from the other end", () => {
  const names = releasedNames(small);
  expect(names.toTheirs("network.neck.0.attn.kv.weight")).toBe("ptv3_model.nec.neck1.attn.kv.weight");
  expect(names.toTheirs("network.neck.2.attn.kv.weight")).toBe("ptv3_model.nec.neck_final.attn.kv.weight");
  expect(names.toTheirs("network.neck.0.local.embedding.conv.weight")).toBe("ptv3_model.mid_conv.conv.0.weight");
  expect(names.toTheirs("network.neck.2.local.embedding.norm.bias")).toBe("ptv3_model.dec.dec0.conv0.conv.2.bias");
  expect(names.toOurs("ptv3_model.enc.enc1.block1.cpe.0.weight")).toBe(
    "network.backbone.encoder.1.blocks.1.cpe.conv.weight",
  );
  expect(names.toOurs("anchor_embeding")).toBeNull();
});
