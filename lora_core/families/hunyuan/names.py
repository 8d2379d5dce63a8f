"""The names of HunyuanVideo's parameters as table rows: canonical, its authors', diffusers'.

Canonical names are those of ComfyUI's network (`double_blocks.0.img_attn.qkv`); the authors' files write some of them
otherwise (`img_attn_qkv`). Both have q, k and v in one module, and in the single blocks the first layer of the MLP with
them; diffusers has each as a module of its own. So a fused module has parts, which have canonical names too
(`double_blocks.0.img_attn.q`), and a model of either kind takes files of both (`files/shares.py`).

Letters of the shapes: D width, H width of a head, M width inside an MLP, S what the second layer of a single block
reads (D + M), T text width, V width of the pooled text, Q width of the sinusoidal time embedding, C input channels, O
output channels times the patch's size. `{i}` is a block's number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from ..region_rules import RegionRules

#: The published model has 20 double and 40 single blocks; the tables leave room.
MAX_BLOCKS = 64

#: Text and video attend together. A double block has layers of its own for each of the two; a single block has one set,
#: the text's tokens behind the video's.
REGIONS = RegionRules(
    video=r"img_in\.proj|final_layer\.linear|double_blocks\.\d+\.(img_attn\.(norm\.)?\w+|img_mlp\.[02])",
    joint=r"single_blocks\.\d+\.(linear1(\.\w+)?|linear2|norm\.\w+)",
)

#: What may stand before every name of a single-file checkpoint, longest first.
CHECKPOINT_PREFIXES = ("model.diffusion_model.", "model.model.", "diffusion_model.", "model.", "transformer.", "")

_REFINER = "txt_in.individual_token_refiner.blocks.{i}"
_DIFFUSERS_REFINER = "context_embedder.token_refiner.refiner_blocks.{i}"


@dataclass(frozen=True)
class NameRow:
    """One module in its three spellings.

    Attributes:
        leaves: parameter name -> its shape in letters.
        parts: canonical path of a part -> (diffusers' path, letter of its outputs), of a fused module; diffusers'
            spelling of the whole is then "".
    """

    native: str
    original: str
    diffusers: str
    leaves: Mapping[str, str]
    parts: Mapping[str, tuple[str, str]]


def _layer(native: str, original: str, diffusers: str, weight: str) -> NameRow:
    return NameRow(native, original or native, diffusers, {"weight": weight, "bias": weight.split()[0]}, {})


def _scale(native: str, original: str, diffusers: str) -> NameRow:
    return NameRow(native, original, diffusers, {"weight": "H"}, {})


def _fused(native: str, original: str, under: str, parts: Mapping[str, tuple[str, str]]) -> NameRow:
    named = {f"{under}.{part}": theirs for part, theirs in parts.items()}
    return NameRow(native, original or native, "", {"weight": "D", "bias": ""}, named)


TRANSFORMER_ROWS: tuple[NameRow, ...] = (
    _layer("img_in.proj", "", "x_embedder.proj", "D C 1 2 2"),
    _layer("time_in.in_layer", "time_in.mlp.0", "time_text_embed.timestep_embedder.linear_1", "D Q"),
    _layer("time_in.out_layer", "time_in.mlp.2", "time_text_embed.timestep_embedder.linear_2", "D D"),
    _layer("vector_in.in_layer", "", "time_text_embed.text_embedder.linear_1", "D V"),
    _layer("vector_in.out_layer", "", "time_text_embed.text_embedder.linear_2", "D D"),
    _layer("guidance_in.in_layer", "guidance_in.mlp.0", "time_text_embed.guidance_embedder.linear_1", "D Q"),
    _layer("guidance_in.out_layer", "guidance_in.mlp.2", "time_text_embed.guidance_embedder.linear_2", "D D"),
    _layer("txt_in.input_embedder", "", "context_embedder.proj_in", "D T"),
    _layer(
        "txt_in.t_embedder.in_layer",
        "txt_in.t_embedder.mlp.0",
        "context_embedder.time_text_embed.timestep_embedder.linear_1",
        "D Q",
    ),
    _layer(
        "txt_in.t_embedder.out_layer",
        "txt_in.t_embedder.mlp.2",
        "context_embedder.time_text_embed.timestep_embedder.linear_2",
        "D D",
    ),
    _layer(
        "txt_in.c_embedder.in_layer",
        "txt_in.c_embedder.linear_1",
        "context_embedder.time_text_embed.text_embedder.linear_1",
        "D T",
    ),
    _layer(
        "txt_in.c_embedder.out_layer",
        "txt_in.c_embedder.linear_2",
        "context_embedder.time_text_embed.text_embedder.linear_2",
        "D D",
    ),
    _layer("final_layer.linear", "", "proj_out", "O D"),
)

REFINER_ROWS: tuple[NameRow, ...] = (
    _layer(f"{_REFINER}.norm1", "", f"{_DIFFUSERS_REFINER}.norm1", "D"),
    _layer(f"{_REFINER}.norm2", "", f"{_DIFFUSERS_REFINER}.norm2", "D"),
    _fused(
        f"{_REFINER}.self_attn.qkv",
        f"{_REFINER}.self_attn_qkv",
        f"{_REFINER}.self_attn",
        {part: (f"{_DIFFUSERS_REFINER}.attn.to_{part}", "D") for part in "qkv"},
    ),
    _layer(f"{_REFINER}.self_attn.proj", f"{_REFINER}.self_attn_proj", f"{_DIFFUSERS_REFINER}.attn.to_out.0", "D D"),
    _layer(f"{_REFINER}.mlp.0", f"{_REFINER}.mlp.fc1", f"{_DIFFUSERS_REFINER}.ff.net.0.proj", "M D"),
    _layer(f"{_REFINER}.mlp.2", f"{_REFINER}.mlp.fc2", f"{_DIFFUSERS_REFINER}.ff.net.2", "D M"),
    _layer(f"{_REFINER}.adaLN_modulation.1", "", f"{_DIFFUSERS_REFINER}.norm_out.linear", "2D D"),
)


def _stream(name: str, q_k_v: tuple[str, str, str], norms: str, out: str, norm: str, mlp: str) -> tuple[NameRow, ...]:
    """Return what a double block has for one of its two streams, video (`img`) or text (`txt`)."""
    ours, theirs = f"double_blocks.{{i}}.{name}", "transformer_blocks.{i}"
    parts = {part: (f"{theirs}.attn.{path}", "D") for part, path in zip("qkv", q_k_v, strict=True)}
    return (
        _layer(f"{ours}_mod.lin", f"{ours}_mod.linear", f"{theirs}.{norm}.linear", "6D D"),
        _fused(f"{ours}_attn.qkv", f"{ours}_attn_qkv", f"{ours}_attn", parts),
        _scale(f"{ours}_attn.norm.query_norm", f"{ours}_attn_q_norm", f"{theirs}.attn.{norms}q"),
        _scale(f"{ours}_attn.norm.key_norm", f"{ours}_attn_k_norm", f"{theirs}.attn.{norms}k"),
        _layer(f"{ours}_attn.proj", f"{ours}_attn_proj", f"{theirs}.attn.{out}", "D D"),
        _layer(f"{ours}_mlp.0", f"{ours}_mlp.fc1", f"{theirs}.{mlp}.net.0.proj", "M D"),
        _layer(f"{ours}_mlp.2", f"{ours}_mlp.fc2", f"{theirs}.{mlp}.net.2", "D M"),
    )


DOUBLE_ROWS: tuple[NameRow, ...] = (
    *_stream("img", ("to_q", "to_k", "to_v"), "norm_", "to_out.0", "norm1", "ff"),
    *_stream(
        "txt", ("add_q_proj", "add_k_proj", "add_v_proj"), "norm_added_", "to_add_out", "norm1_context", "ff_context"
    ),
)

_SINGLE, _DIFFUSERS_SINGLE = "single_blocks.{i}", "single_transformer_blocks.{i}"

SINGLE_ROWS: tuple[NameRow, ...] = (
    _layer(f"{_SINGLE}.modulation.lin", f"{_SINGLE}.modulation.linear", f"{_DIFFUSERS_SINGLE}.norm.linear", "3D D"),
    _fused(
        f"{_SINGLE}.linear1",
        "",
        f"{_SINGLE}.linear1",
        {part: (f"{_DIFFUSERS_SINGLE}.attn.to_{part}", "D") for part in "qkv"}
        | {"mlp": (f"{_DIFFUSERS_SINGLE}.proj_mlp", "M")},
    ),
    _scale(f"{_SINGLE}.norm.query_norm", f"{_SINGLE}.q_norm", f"{_DIFFUSERS_SINGLE}.attn.norm_q"),
    _scale(f"{_SINGLE}.norm.key_norm", f"{_SINGLE}.k_norm", f"{_DIFFUSERS_SINGLE}.attn.norm_k"),
    _layer(f"{_SINGLE}.linear2", "", f"{_DIFFUSERS_SINGLE}.proj_out", "D S"),
)

#: The last modulation: shift above scale in the authors' network, scale above shift in diffusers'.
LAST_MODULATION = "final_layer.adaLN_modulation.1"
SCALE_SHIFT = "final_layer.scale_shift"
_SCALE_SHIFT_DIFFUSERS = "norm_out.linear"
_LAST_PARTS = ("final_layer.shift", "final_layer.scale")


def rows(num_double: int = MAX_BLOCKS, num_single: int = MAX_BLOCKS, num_refiner: int = 4) -> Iterator[NameRow]:
    """Yield every row but the last modulation's of a transformer of so many blocks, block numbers filled in."""
    yield from TRANSFORMER_ROWS
    for group, count in ((REFINER_ROWS, num_refiner), (DOUBLE_ROWS, num_double), (SINGLE_ROWS, num_single)):
        for i in range(count):
            for row in group:
                yield _numbered(row, i)


def _numbered(row: NameRow, i: int) -> NameRow:
    def number(text: str) -> str:
        return text.replace("{i}", str(i))

    parts = {number(part): (number(path), letter) for part, (path, letter) in row.parts.items()}
    return NameRow(number(row.native), number(row.original), number(row.diffusers), row.leaves, parts)


@cache
def aliases(num_double: int = MAX_BLOCKS, num_single: int = MAX_BLOCKS) -> Mapping[str, str]:
    """Return other spelling -> canonical path, for every path that is spelled differently somewhere."""
    found = {_SCALE_SHIFT_DIFFUSERS: SCALE_SHIFT}
    for row in rows(num_double, num_single):
        names = {row.original: row.native, **({row.diffusers: row.native} if row.diffusers else {})}
        names |= {path: part for part, (path, _) in row.parts.items()}
        found |= {name: native for name, native in names.items() if name != native}
    return found


@cache
def fused(num_double: int = MAX_BLOCKS, num_single: int = MAX_BLOCKS) -> Mapping[str, tuple[str, ...]]:
    """Return the path of every fused module -> the paths of its parts, in the order of its outputs."""
    found = {row.native: tuple(row.parts) for row in rows(num_double, num_single) if row.parts}
    return found | {LAST_MODULATION: _LAST_PARTS, SCALE_SHIFT: _LAST_PARTS[::-1]}


@cache
def joined_natively() -> Mapping[str, tuple[tuple[str, int], ...]]:
    """Return the path of every module that the native network has fused -> (part, how many widths its outputs are)."""
    widths = {"D": 1, "M": 4}
    found = {
        row.native: tuple((part, widths[letter]) for part, (_, letter) in row.parts.items())
        for row in rows()
        if row.parts
    }
    return found | {LAST_MODULATION: tuple((part, 1) for part in _LAST_PARTS)}


def has_rest(path: str) -> bool:
    """Say whether the last part of a fused module is wider than the others, as in the single blocks."""
    return path.endswith(".linear1")


def module_to_diffusers(path: str) -> str:
    """Return diffusers' spelling of a canonical module path; one that is not in the table stays."""
    return _diffusers().get(path, path)


@cache
def _diffusers() -> Mapping[str, str]:
    found = {row.native: row.diffusers for row in rows() if row.diffusers}
    found |= {part: path for row in rows() for part, (path, _) in row.parts.items()}
    return found | {SCALE_SHIFT: _SCALE_SHIFT_DIFFUSERS}
