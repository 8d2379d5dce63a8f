"""The names of a CLIP vision encoder's parameters in every spelling that files have, as table rows.

transformers' is also that of ComfyUI's users (`clip_vision_h.safetensors`); open_clip's is that of the encoder's
authors; Wan's own is that of `models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth` (the Wan 2.1 repository's
`wan/modules/clip.py`). The latter two keep queries, keys and values of a layer in one tensor, one below the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

#: The most layers a CLIP vision encoder has been seen with is 48; the table leaves room.
_MAX_LAYERS = 64

_WEIGHTS = ("weight", "bias")

#: transformers, open_clip, Wan's own.
_BARE: tuple[tuple[str, str, str], ...] = (
    ("embeddings.class_embedding", "class_embedding", "cls_embedding"),
    ("embeddings.patch_embedding.weight", "conv1.weight", "patch_embedding.weight"),
    ("embeddings.position_embedding.weight", "positional_embedding", "pos_embedding"),
)
_NORMS: tuple[tuple[str, str, str], ...] = (
    ("pre_layrnorm", "ln_pre", "pre_norm"),  # transformers' own misspelling
    ("post_layernorm", "ln_post", "post_norm"),
)
_LAYERS = ("encoder.layers", "transformer.resblocks", "transformer")
_IN_LAYER: tuple[tuple[str, str, str], ...] = (
    ("layer_norm1", "ln_1", "norm1"),
    ("self_attn.out_proj", "attn.out_proj", "attn.proj"),
    ("layer_norm2", "ln_2", "norm2"),
    ("mlp.fc1", "mlp.c_fc", "mlp.0"),
    ("mlp.fc2", "mlp.c_proj", "mlp.2"),
)
_STACKED = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_STACKED_LEAVES = (
    ("weight", "attn.in_proj_weight", "attn.to_qkv.weight"),
    ("bias", "attn.in_proj_bias", "attn.to_qkv.bias"),
)

#: What stands before the encoder's names in files that hold more, in each spelling.
_ROOTS = ("vision_model.", "visual.", "")
#: What may stand before those in turn.
_PREFIXES = ("clip_vision.", "image_encoder.", "model.", "")
#: One tensor that only a CLIP vision encoder has, in each spelling.
_SIGNS = (
    "embeddings.patch_embedding.weight",
    "transformer.resblocks.0.attn.in_proj_weight",
    "transformer.0.attn.to_qkv.weight",
)
#: What Wan does not read: the projection to the space that CLIP shares with texts, and a count that old files store.
_NOT_READ = ("visual_projection.weight", "proj", "head", "embeddings.position_ids")


def encoder_prefix(names: Iterable[str]) -> str | None:
    """Return what stands before every name of the vision encoder, or None when there is no such encoder."""
    present = set(names)
    return next((p + r for r in _ROOTS for p in _PREFIXES if any(p + r + sign in present for sign in _SIGNS)), None)


def encoder_name(name: str, prefix: str) -> tuple[str, ...]:
    """Return transformers' names of the parameters that a file's tensor holds, in their order.

    None of them for what is not the encoder's; an unknown name of the encoder stays as it is, to be reported.
    """
    if not name.startswith(prefix) or name.removeprefix(prefix) in _NOT_READ:
        return ()
    bare = name.removeprefix(prefix)
    return _table().get(bare, (bare,))


@cache
def _table() -> dict[str, tuple[str, ...]]:
    """Return name in any spelling -> transformers' names."""
    return {spelling: names for names, spellings in _rows() for spelling in spellings}


def _rows() -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield (transformers' names, every spelling of the tensor that holds them)."""
    for row in _BARE:
        yield (row[0],), row
    for row in _NORMS:
        for leaf in _WEIGHTS:
            spellings = tuple(f"{path}.{leaf}" for path in row)
            yield spellings[:1], spellings
    for i in range(_MAX_LAYERS):
        yield from _layer_rows(tuple(f"{layers}.{i}" for layers in _LAYERS))


def _layer_rows(paths: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    for row in _IN_LAYER:
        for leaf in _WEIGHTS:
            spellings = tuple(f"{path}.{module}.{leaf}" for path, module in zip(paths, row, strict=True))
            yield spellings[:1], spellings
    for leaf, *stacked in _STACKED_LEAVES:
        names = tuple(f"{paths[0]}.{module}.{leaf}" for module in _STACKED)
        yield names, tuple(f"{path}.{name}" for path, name in zip(paths[1:], stacked, strict=True))
