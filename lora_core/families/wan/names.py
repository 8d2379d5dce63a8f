"""The names of Wan's parameters, native (Wan's own, ComfyUI's) and diffusers', as table rows.

Letters of the shapes: D width, F width inside a feed-forward, T text width, Q width of the sinusoidal time embedding,
I width of the CLIP image embedding, C input channels, O output channels times the patch's size, N position tokens.
`{i}` is a block's number. Tables are looked up; nothing is replaced inside a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from ..family import Prefix
from ..region_rules import RegionRules

#: The most blocks a Wan checkpoint has been seen with is 40; the tables leave room.
MAX_BLOCKS = 64

#: What may stand before every name of a single-file checkpoint, longest first.
CHECKPOINT_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "model.", "transformer.", "")


#: What stands before module paths in LoRA files: the folder names of the Wan 2.2 release.
LORA_PREFIXES = (Prefix("high_noise_model.", "wan", "high_noise"), Prefix("low_noise_model.", "wan", "low_noise"))


@dataclass(frozen=True)
class NameRow:
    """One module, or one bare parameter, in both spellings.

    Attributes:
        leaves: parameter name -> its shape in letters; the leaf "" is a bare parameter named by the path itself.
        image_branch: True for what only Wan 2.1 I2V models have.
    """

    native: str
    diffusers: str
    leaves: Mapping[str, str]
    image_branch: bool = False


def _layer(native: str, diffusers: str, weight: str, *, image_branch: bool = False) -> NameRow:
    return NameRow(native, diffusers, {"weight": weight, "bias": weight.split()[0]}, image_branch)


def _scale(native: str, diffusers: str, *, image_branch: bool = False) -> NameRow:
    return NameRow(native, diffusers, {"weight": "D"}, image_branch)


def _bare(native: str, diffusers: str, shape: str, *, image_branch: bool = False) -> NameRow:
    return NameRow(native, diffusers, {"": shape}, image_branch)


TRANSFORMER_ROWS: tuple[NameRow, ...] = (
    _layer("patch_embedding", "patch_embedding", "D C 1 2 2"),
    _layer("text_embedding.0", "condition_embedder.text_embedder.linear_1", "D T"),
    _layer("text_embedding.2", "condition_embedder.text_embedder.linear_2", "D D"),
    _layer("time_embedding.0", "condition_embedder.time_embedder.linear_1", "D Q"),
    _layer("time_embedding.2", "condition_embedder.time_embedder.linear_2", "D D"),
    _layer("time_projection.1", "condition_embedder.time_proj", "6D D"),
    _layer("img_emb.proj.0", "condition_embedder.image_embedder.norm1", "I", image_branch=True),
    _layer("img_emb.proj.1", "condition_embedder.image_embedder.ff.net.0.proj", "I I", image_branch=True),
    _layer("img_emb.proj.3", "condition_embedder.image_embedder.ff.net.2", "D I", image_branch=True),
    _layer("img_emb.proj.4", "condition_embedder.image_embedder.norm2", "D", image_branch=True),
    _bare("img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed", "1 N I", image_branch=True),
    _layer("head.head", "proj_out", "O D"),
    _bare("head.modulation", "scale_shift_table", "1 2 D"),
)

BLOCK_ROWS: tuple[NameRow, ...] = (
    _layer("blocks.{i}.self_attn.q", "blocks.{i}.attn1.to_q", "D D"),
    _layer("blocks.{i}.self_attn.k", "blocks.{i}.attn1.to_k", "D D"),
    _layer("blocks.{i}.self_attn.v", "blocks.{i}.attn1.to_v", "D D"),
    _layer("blocks.{i}.self_attn.o", "blocks.{i}.attn1.to_out.0", "D D"),
    _scale("blocks.{i}.self_attn.norm_q", "blocks.{i}.attn1.norm_q"),
    _scale("blocks.{i}.self_attn.norm_k", "blocks.{i}.attn1.norm_k"),
    _layer("blocks.{i}.cross_attn.q", "blocks.{i}.attn2.to_q", "D D"),
    _layer("blocks.{i}.cross_attn.k", "blocks.{i}.attn2.to_k", "D D"),
    _layer("blocks.{i}.cross_attn.v", "blocks.{i}.attn2.to_v", "D D"),
    _layer("blocks.{i}.cross_attn.o", "blocks.{i}.attn2.to_out.0", "D D"),
    _scale("blocks.{i}.cross_attn.norm_q", "blocks.{i}.attn2.norm_q"),
    _scale("blocks.{i}.cross_attn.norm_k", "blocks.{i}.attn2.norm_k"),
    _layer("blocks.{i}.cross_attn.k_img", "blocks.{i}.attn2.add_k_proj", "D D", image_branch=True),
    _layer("blocks.{i}.cross_attn.v_img", "blocks.{i}.attn2.add_v_proj", "D D", image_branch=True),
    _scale("blocks.{i}.cross_attn.norm_k_img", "blocks.{i}.attn2.norm_added_k", image_branch=True),
    _layer("blocks.{i}.norm3", "blocks.{i}.norm2", "D"),
    _layer("blocks.{i}.ffn.0", "blocks.{i}.ffn.net.0.proj", "F D"),
    _layer("blocks.{i}.ffn.2", "blocks.{i}.ffn.net.2", "D F"),
    _bare("blocks.{i}.modulation", "blocks.{i}.scale_shift_table", "1 6 D"),
)

#: Norms across the heads and those before an attention see one token at a time, as linear layers do. The picture's
#: features stand beside the text's in a cross-attention.
REGIONS = RegionRules(
    video=r"patch_embedding|head\.head|blocks\.\d+\.(self_attn\.\w+|cross_attn\.(q|norm_q|o)|norm3|ffn\.[02])",
    text=r"blocks\.\d+\.cross_attn\.(norm_)?(k|v|kv)(_img)?",
    queries=("q", "norm_q"),
    output="o",
)

#: (attention, its fused projections, diffusers' name of them, what they fuse): SimpleTuner trains on such modules.
_FUSED: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("self_attn", "qkv", "attn1.to_qkv", ("q", "k", "v")),
    ("cross_attn", "kv", "attn2.to_kv", ("k", "v")),
    ("cross_attn", "kv_img", "attn2.to_added_kv", ("k_img", "v_img")),
)

#: Spellings that mix both namings, as LyCORIS files of SimpleTuner do (`lycoris_blocks_0_self_attn_to_q`).
_MIXED_BLOCK_SPELLINGS: tuple[tuple[str, str], ...] = tuple(
    (f"blocks.{{i}}.{attention}.{mixed}", f"blocks.{{i}}.{attention}.{native}")
    for attention in ("self_attn", "cross_attn")
    for mixed, native in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "o"), ("to_out", "o"))
)


def rows(num_blocks: int = MAX_BLOCKS) -> Iterator[NameRow]:
    """Yield every row of a transformer of `num_blocks` blocks, block numbers filled in."""
    yield from TRANSFORMER_ROWS
    for i in range(num_blocks):
        for row in BLOCK_ROWS:
            yield NameRow(row.native.format(i=i), row.diffusers.format(i=i), row.leaves, row.image_branch)


def aliases(num_blocks: int = MAX_BLOCKS) -> dict[str, str]:
    """Return other spelling -> native path, for every path that is spelled differently somewhere."""
    found = {row.diffusers: row.native for row in rows(num_blocks) if row.diffusers != row.native}
    for i in range(num_blocks):
        found.update({mixed.format(i=i): native.format(i=i) for mixed, native in _MIXED_BLOCK_SPELLINGS})
    return found


def fused(num_blocks: int = MAX_BLOCKS) -> dict[str, tuple[str, ...]]:
    """Return the path of every fused module -> the native paths of those whose outputs it stacks."""
    return {
        f"blocks.{i}.{attention}.{name}": tuple(f"blocks.{i}.{attention}.{part}" for part in parts)
        for i in range(num_blocks)
        for attention, name, _, parts in _FUSED
    }


def fused_aliases(num_blocks: int = MAX_BLOCKS) -> dict[str, str]:
    """Return other spelling -> path, for every fused module."""
    return {
        f"blocks.{i}.{spelling}": f"blocks.{i}.{attention}.{name}"
        for i in range(num_blocks)
        for attention, name, theirs, _ in _FUSED
        for spelling in (theirs, f"{attention}.{theirs.rpartition('.')[2]}")
    }


def to_native(name: str) -> str | None:
    """Return Wan's own name of a whole diffusers parameter name, or None when it is not in the table."""
    return _tables()[1].get(name)


def to_diffusers(name: str) -> str | None:
    """Return diffusers' name of a whole native parameter name, or None when it is not in the table."""
    return _tables()[0].get(name)


def module_to_diffusers(path: str) -> str:
    """Return diffusers' spelling of a native module path or bare parameter; one that is not in the table stays."""
    name = to_diffusers(f"{path}.weight")
    return name.removesuffix(".weight") if name else to_diffusers(path) or path


def is_bare(target: str) -> bool:
    """Say whether a target is a parameter that no module of its own holds, such as `modulation`."""
    return not target.endswith(".bias") and to_diffusers(target) is not None


@cache
def _tables() -> tuple[dict[str, str], dict[str, str]]:
    """Return (native -> diffusers, diffusers -> native) for whole parameter names."""
    pairs = [(_join(row.native, leaf), _join(row.diffusers, leaf)) for row in rows() for leaf in row.leaves]
    return dict(pairs), {diffusers: native for native, diffusers in pairs}


def _join(path: str, leaf: str) -> str:
    return f"{path}.{leaf}" if leaf else path
