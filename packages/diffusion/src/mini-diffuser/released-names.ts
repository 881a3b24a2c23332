import { NameMap, type NameRule, registerNameMap } from "@md/nn";
import type { MiniDiffuserConfig } from "./config.js";

const rule = (ours: string, theirs: string): NameRule => ({ ours: `${ours}.**`, theirs: `${theirs}.**` });
const mlpRules = (ours: string, theirs: string): NameRule[] => [
  rule(`${ours}.layers.0`, `${theirs}.fc1`),
  rule(`${ours}.layers.1`, `${theirs}.fc2`),
];
const embeddingRules = (ours: string, theirs: string): NameRule[] =>
  ["conv", "linear", "norm"].map((name, i) => rule(`${ours}.${name}`, `${theirs}.${i}`));

function stageRules(ours: string, theirs: string, depth: number): NameRule[] {
  return Array.from({ length: depth }, (_, b) => [
    ...embeddingRules(`${ours}.blocks.${b}.cpe`, `${theirs}.block${b}.cpe`),
    ...[
      [`${ours}.blocks.${b}`, `${theirs}.block${b}`] as const,
      [`${ours}.context_blocks.${b}`, `${theirs}.ca_block${b}`] as const,
    ].flatMap(([own, released]) => [
      rule(`${own}.norm1`, `${released}.norm1.0`),
      rule(`${own}.attn`, `${released}.attn`),
      rule(`${own}.norm2`, `${released}.norm2.0`),
      ...mlpRules(`${own}.mlp`, `${released}.mlp.0`),
    ]),
  ]).flat();
}

/**
 * Names of a {@link MiniDiffuser}'s parameters and those of the authors' released checkpoints. What those have and never
 * use (`anchor_embeding`, `act_proj_head.heatmap_mlp`) has no name of ours, and what they do not have (`own_kv` and
 * `context_kv` without `compat`, `proprio`, `step`) none of theirs.
 */
export function releasedNames({ encDepths, decDepths }: Pick<MiniDiffuserConfig, "encDepths" | "decDepths">): NameMap {
  const stages = encDepths.length;
  const released = "ptv3_model";
  const [backbone, neck] = ["network.backbone", "network.neck"];
  const rules = [
    rule("network.language.linear", "txt_fc"),
    rule("network.language.score", "txt_attn_fc"),
    rule(`${backbone}.stem`, `${released}.embedding.stem.conv`),
    rule(`${backbone}.stem_norm`, `${released}.embedding.stem.norm`),
    ...mlpRules("network.anchor", `${released}.anchor_proj.0`),
  ];
  encDepths.forEach((depth, s) => {
    const stage = `${released}.enc.enc${s}`;
    rules.push(...stageRules(`${backbone}.encoder.${s}`, stage, depth));
    if (s === 0) return;
    rules.push(rule(`${backbone}.pools.${s - 1}.proj`, `${stage}.down.proj`));
    rules.push(rule(`${backbone}.pools.${s - 1}.norm`, `${stage}.down.norm.0`));
  });
  decDepths.forEach((depth, s) => {
    const stage = `${released}.dec.dec${s}`;
    rules.push(...stageRules(`${backbone}.decoder.${s}`, stage, depth));
    for (const [own, theirs] of [
      ["proj", "proj.0"],
      ["norm", "proj.1"],
      ["skip_proj", "proj_skip.0"],
      ["skip_norm", "proj_skip.1"],
    ] as const)
      rules.push(rule(`${backbone}.unpools.${s}.${own}`, `${stage}.up.${theirs}`));
  });
  for (let i = 0; i < stages; i++) {
    // Ours count from the coarsest level, theirs from the finest.
    const level = stages - 1 - i;
    const block = level === 0 ? `${released}.nec.neck_final` : `${released}.nec.neck${level - 1}`;
    const local = i === 0 ? `${released}.mid_conv` : `${released}.dec.dec${level}.conv0`;
    rules.push(...embeddingRules(`${neck}.${i}.local.embedding`, `${local}.conv`));
    for (const norm of ["norm1", "norm2"]) {
      rules.push(rule(`${neck}.${i}.${norm}.norm`, `${block}.${norm}.0.norm`));
      rules.push(rule(`${neck}.${i}.${norm}.modulation`, `${block}.${norm}.0.modulation.1`));
    }
    for (const part of ["q", "kv", "proj", "q_norm", "k_norm"])
      rules.push(rule(`${neck}.${i}.attn.${part}`, `${block}.attn.${part}`));
    rules.push(...mlpRules(`${neck}.${i}.mlp`, `${block}.mlp.0`));
  }
  for (const mlp of ["denoise", "action"]) {
    rules.push(rule(`network.head.${mlp}.hidden`, `act_proj_head.${mlp}_mlp.0`));
    rules.push(rule(`network.head.${mlp}.out`, `act_proj_head.${mlp}_mlp.3`));
  }
  return new NameMap("mini-diffuser-released", rules);
}

registerNameMap(releasedNames({ encDepths: [1, 1, 1, 1, 1], decDepths: [1, 1, 1, 1] }));
