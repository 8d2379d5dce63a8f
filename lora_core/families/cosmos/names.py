"""The names of Cosmos' parameters, native (NVIDIA's own behind `net.`, ComfyUI's) and diffusers', as table rows.

Letters of the shapes: D width, F width inside a feed-forward, T text width, A width inside a modulation, K width of a
head, P input channels times the patch's size, O output channels times it. `{i}` is a block's number. Tables are looked
up; nothing is replaced inside a name. No layer has a bias.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from ..family import Prefix
from ..region_rules import RegionRules

#: The most blocks a Cosmos checkpoint has been seen with is 36; the tables leave room.
MAX_BLOCKS = 64

#: What may stand before every name of a single-file checkpoint, longest first. A training's file has its network twice,
#: as it was trained and averaged; the one that comes first here is read.
CHECKPOINT_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.", "model.", "net.", "net_ema.", "")

#: What stands before module paths in NVIDIA's own training files.
LORA_PREFIXES = (Prefix("net.", "nvidia"), Prefix("net_ema.", "nvidia", average=True))

#: Entries of NVIDIA's files that are no parameters: counters, tables that are computed, states of fused layers.
#: A name counts when it begins, or ends, so.
NO_PARAMETERS_BEGIN = ("accum_", "pos_embedder.")
NO_PARAMETERS_END = ("_extra_state",)


@dataclass(frozen=True)
class NameRow:
    """One module in both spellings, with the shape of its weight in letters."""

    native: str
    diffusers: str
    weight: str


TRANSFORMER_ROWS: tuple[NameRow, ...] = (
    NameRow("x_embedder.proj.1", "patch_embed.proj", "D P"),
    NameRow("t_embedder.1.linear_1", "time_embed.t_embedder.linear_1", "D D"),
    NameRow("t_embedder.1.linear_2", "time_embed.t_embedder.linear_2", "3D D"),
    NameRow("t_embedding_norm", "time_embed.norm", "D"),
    NameRow("final_layer.adaln_modulation.1", "norm_out.linear_1", "A D"),
    NameRow("final_layer.adaln_modulation.2", "norm_out.linear_2", "2D A"),
    NameRow("final_layer.linear", "proj_out", "O D"),
)


def _attention(native: str, diffusers: str, source: str) -> tuple[NameRow, ...]:
    """Return the rows of an attention whose keys and values are made of something as wide as `source`."""
    return tuple(
        NameRow(f"blocks.{{i}}.{native}.{ours}", f"transformer_blocks.{{i}}.{diffusers}.{theirs}", weight)
        for ours, theirs, weight in (
            ("q_proj", "to_q", "D D"),
            ("k_proj", "to_k", f"D {source}"),
            ("v_proj", "to_v", f"D {source}"),
            ("output_proj", "to_out.0", "D D"),
            ("q_norm", "norm_q", "K"),
            ("k_norm", "norm_k", "K"),
        )
    )


def _modulation(native: str, diffusers: str) -> tuple[NameRow, ...]:
    return (
        NameRow(f"blocks.{{i}}.{native}.1", f"transformer_blocks.{{i}}.{diffusers}.linear_1", "A D"),
        NameRow(f"blocks.{{i}}.{native}.2", f"transformer_blocks.{{i}}.{diffusers}.linear_2", "3D A"),
    )


BLOCK_ROWS: tuple[NameRow, ...] = (
    *_modulation("adaln_modulation_self_attn", "norm1"),
    *_attention("self_attn", "attn1", "D"),
    *_modulation("adaln_modulation_cross_attn", "norm2"),
    *_attention("cross_attn", "attn2", "T"),
    *_modulation("adaln_modulation_mlp", "norm3"),
    NameRow("blocks.{i}.mlp.layer1", "transformer_blocks.{i}.ff.net.0.proj", "F D"),
    NameRow("blocks.{i}.mlp.layer2", "transformer_blocks.{i}.ff.net.2", "D F"),
)

#: Modulations are made of the time, for each frame at most.
REGIONS = RegionRules(
    video=r"x_embedder\.proj\.1|final_layer\.linear|blocks\.\d+\.(self_attn\.\w+|cross_attn\.(q_proj|q_norm|output_proj)|mlp\.layer[12])",
    text=r"blocks\.\d+\.cross_attn\.[kv]_(proj|norm)",
    queries=("q_proj", "q_norm"),
    output="output_proj",
)


def rows(num_blocks: int = MAX_BLOCKS) -> Iterator[NameRow]:
    """Yield every row of a transformer of `num_blocks` blocks, block numbers filled in."""
    yield from TRANSFORMER_ROWS
    for i in range(num_blocks):
        for row in BLOCK_ROWS:
            yield NameRow(row.native.format(i=i), row.diffusers.format(i=i), row.weight)


def aliases(num_blocks: int = MAX_BLOCKS) -> dict[str, str]:
    """Return diffusers' spelling -> native path, for every module."""
    return {row.diffusers: row.native for row in rows(num_blocks)}


def to_native(name: str) -> str | None:
    """Return the native name of a whole diffusers parameter name, or None when it is not in the table."""
    return _tables()[1].get(name)


def to_diffusers(name: str) -> str | None:
    """Return diffusers' name of a whole native parameter name, or None when it is not in the table."""
    return _tables()[0].get(name)


def module_to_diffusers(path: str) -> str:
    """Return diffusers' spelling of a native module path; one that is not in the table stays."""
    name = to_diffusers(f"{path}.weight")
    return name.removesuffix(".weight") if name else path


def is_parameter(name: str) -> bool:
    """Say whether an entry of a checkpoint, its prefix taken off, is a parameter of a network."""
    return not (name.startswith(NO_PARAMETERS_BEGIN) or name.endswith(NO_PARAMETERS_END))


@cache
def _tables() -> tuple[dict[str, str], dict[str, str]]:
    """Return (native -> diffusers, diffusers -> native) for whole parameter names."""
    pairs = [(f"{row.native}.weight", f"{row.diffusers}.weight") for row in rows()]
    return dict(pairs), {diffusers: native for native, diffusers in pairs}
