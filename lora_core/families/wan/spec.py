"""The Wan models: their specs by name, and the spec of a checkpoint from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from ...checks import typed
from ...errors import ModelError
from ...wording import said
from ..base import UNKNOWN_SHAPE, DefaultClip, ModelSpec, ModuleKind, target_of
from .names import CHECKPOINT_PREFIXES, MAX_BLOCKS, NameRow, aliases, fused, fused_aliases, rows, to_native

_FREQUENCY_WIDTH = 256
_IMAGE_WIDTH = 1280
#: Position embeddings that only the first-and-last-frame variant of Wan 2.1 I2V has.
_FLF_POSITIONS = "img_emb.emb_pos"
_NO_IMAGE_BRANCH: tuple[tuple[str, str], ...] = (
    (
        r"^(blocks\.\d+\.cross_attn\.(k_img|v_img|kv_img|norm_k_img)|img_emb)(\.|$)",
        said("belongs to the image branch of Wan 2.1 I2V, which this model does not have"),
    ),
)


#: The Wan repositories' `wan/configs`.
_USUAL_CLIP = DefaultClip(81, 480, 832, 16.0)
_POCKET_CLIP = DefaultClip(17, 64, 64, 16.0)
_POCKET_SOURCE = "the pocket's table of quality"


@dataclass(frozen=True)
class WanSize:
    """The dimensions that tell one Wan transformer from another."""

    width: int
    ffn_width: int
    num_blocks: int
    text_width: int = 4096
    in_channels: int = 16
    out_channels: int = 16
    image_branch: bool = False


@dataclass(frozen=True)
class WanRecipe:
    """What a checkpoint does not say: name, noise boundary and the sampling settings its authors give."""

    name: str
    title: str
    size: WanSize
    boundary: float | None
    shift: float
    num_steps: int
    cfg: tuple[float, float]
    clip: DefaultClip = _USUAL_CLIP
    source: str = "Wan's own configuration files"


_14B = WanSize(5120, 13824, 40)
_14B_IMAGE_CHANNELS = WanSize(5120, 13824, 40, in_channels=36)
_14B_IMAGE_BRANCH = WanSize(5120, 13824, 40, in_channels=36, image_branch=True)

#: Settings: the `wan/configs/*.py` of the Wan 2.1 and Wan 2.2 repositories. Where two rows have one size, the first is
#: meant when the number of experts is not known.
_RECIPES: tuple[WanRecipe, ...] = (
    WanRecipe("wan2.2-t2v-a14b", "Wan 2.2 T2V A14B", _14B, 0.875, 12.0, 40, (4.0, 3.0)),
    WanRecipe("wan2.2-i2v-a14b", "Wan 2.2 I2V A14B", _14B_IMAGE_CHANNELS, 0.900, 5.0, 40, (3.5, 3.5)),
    WanRecipe(
        "wan2.2-ti2v-5b",
        "Wan 2.2 TI2V 5B",
        WanSize(3072, 14336, 30, in_channels=48, out_channels=48),
        None,
        5.0,
        50,
        (5.0, 5.0),
        DefaultClip(121, 704, 1280, 24.0),
    ),
    WanRecipe("wan2.1-t2v-1.3b", "Wan 2.1 T2V 1.3B", WanSize(1536, 8960, 30), None, 5.0, 50, (5.0, 5.0)),
    WanRecipe("wan2.1-t2v-14b", "Wan 2.1 T2V 14B", _14B, None, 5.0, 50, (5.0, 5.0)),
    WanRecipe("wan2.1-i2v-14b", "Wan 2.1 I2V 14B", _14B_IMAGE_BRANCH, None, 5.0, 40, (5.0, 5.0)),
    WanRecipe(
        "wan-pocket",
        "Wan pocket",
        WanSize(128, 512, 6, text_width=64),
        0.875,
        5.0,
        30,
        (3.5, 3.5),
        _POCKET_CLIP,
        _POCKET_SOURCE,
    ),
    WanRecipe(
        "wan-pocket-i2v",
        "Wan pocket I2V",
        WanSize(128, 512, 6, text_width=64, in_channels=36),
        0.9,
        5.0,
        30,
        (3.5, 3.5),
        _POCKET_CLIP,
        _POCKET_SOURCE,
    ),
    WanRecipe(
        "wan-pocket-small",
        "Wan pocket small",
        WanSize(96, 384, 4, text_width=64),
        0.875,
        5.0,
        30,
        (3.5, 3.5),
        _POCKET_CLIP,
        _POCKET_SOURCE,
    ),
)

_PATCH_SIZE = (1, 2, 2)
#: The length of diffusers' rotary tables, and of those in Wan's own code.
_MAX_POSITIONS = 1024
_BLOCK_PATTERN = r"blocks\.(\d+)\.(.+)"

#: Regular expression on a target -> the kind of module it belongs to, for target filters; the first found decides.
_MODULE_KINDS: tuple[tuple[str, ModuleKind], ...] = (
    (r"(^|\.)modulation$", "modulation"),
    (r"^(\w+_embedding|time_projection|img_emb)(\.|$)", "embedding"),
    (r"(^|\.)norm\w*(\.|$)", "norm"),
    (r"(^|\.)self_attn\.", "self_attn"),
    (r"(^|\.)cross_attn\.", "cross_attn"),
    (r"(^|\.)ffn\.", "ffn"),
    (r"^head\.", "head"),
)

#: The names that `wan_spec` answers to.
WAN_SPEC_NAMES: tuple[str, ...] = tuple(recipe.name for recipe in _RECIPES)

#: What a two-expert model of no published size is given: the boundaries of Wan 2.2 T2V and I2V.
_CUSTOM_BOUNDARY = {False: 0.875, True: 0.900}


@typed(ModelError)
@cache
def wan_spec(name: str) -> ModelSpec:
    """Return the spec of a published Wan model (or the pocket one) by its name."""
    for recipe in _RECIPES:
        if recipe.name == name:
            return _spec(recipe, shapes_of(recipe.size))
    raise ModelError(
        name,
        "no Wan model has this name",
        expected=said("one of {names}", names=", ".join(WAN_SPEC_NAMES)),
        remedy="Choose one of them",
    )


@cache
def wan_grammar() -> ModelSpec:
    """Return a spec that knows every name of the family and no shape, for reading a file without a model."""
    shapes = {_target(row, leaf): UNKNOWN_SHAPE for row in rows(MAX_BLOCKS) for leaf in row.leaves}
    return ModelSpec(
        "wan",
        "Wan (any size)",
        shapes,
        aliases() | fused_aliases(),
        family="wan",
        module_kinds=_MODULE_KINDS,
        block_pattern=_BLOCK_PATTERN,
        latent_channels=16,
        vae_stride=(4, 8, 8),
        patch_size=_PATCH_SIZE,
        boundary=_CUSTOM_BOUNDARY[False],
        fused=fused(),
    )


@typed(ModelError)
def infer_wan_spec(
    shapes: Mapping[str, tuple[int, ...]], *, num_experts: int | None = None, where: object = "checkpoint"
) -> ModelSpec:
    """Return the spec of a checkpoint from its full tensor names, native or diffusers', with or without a prefix.

    Args:
        shapes: tensor name -> shape; tensors that are no parameters of a Wan transformer become targets of their own.
        num_experts: 1 or 2 where it is known; Wan 2.1 T2V 14B and one expert of Wan 2.2 have the same tensors.
        where: the file, for messages.
    """
    targets = _in_order({target_of(name): tuple(shape) for name, shape in native_shapes(shapes, where).items()})
    size = _size_of(targets, where)
    matching = [recipe for recipe in _RECIPES if recipe.size == size]
    if num_experts is not None:
        matching = [recipe for recipe in matching if (recipe.boundary is None) == (num_experts == 1)]
    return _spec(matching[0] if matching else _custom_recipe(size, num_experts), targets)


def names_a_wan(names: Iterable[str]) -> bool:
    """Say whether tensor names, native or diffusers', under any known prefix, are those of a Wan transformer."""
    return checkpoint_prefix(names) is not None


def native_shapes(shapes: Mapping[str, tuple[int, ...]], where: object = "checkpoint") -> dict[str, tuple[int, ...]]:
    """Return the same shapes under native names without prefix; unknown names stay as they are."""
    prefix = checkpoint_prefix(shapes)
    if prefix is None:
        raise ModelError(
            where,
            "its tensors are not those of a Wan transformer",
            expected="blocks.0.…, head.…",
            remedy="Choose a Wan model",
        )
    bare = {name.removeprefix(prefix): shape for name, shape in shapes.items()}
    return {to_native(name) or name: shape for name, shape in bare.items()}


#: One tensor that only a Wan transformer has, in each naming.
_SIGNS = ("blocks.0.self_attn.norm_q.weight", "blocks.0.attn1.norm_q.weight")


def checkpoint_prefix(names: Iterable[str]) -> str | None:
    """Return what stands before every name of a Wan transformer's checkpoint, or None when it is another model's."""
    present = set(names)
    return next((p for p in CHECKPOINT_PREFIXES if any(p + sign in present for sign in _SIGNS)), None)


def _in_order(targets: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return targets in the order in which the network has them, whatever order a file stores them in."""
    place = {target: index for index, target in enumerate(wan_grammar().shapes)}
    return dict(sorted(targets.items(), key=lambda item: place.get(item[0], len(place))))


def _size_of(targets: Mapping[str, tuple[int, ...]], where: object) -> WanSize:
    try:
        width, in_channels = targets["patch_embedding"][:2]
        return WanSize(
            width=width,
            ffn_width=targets["blocks.0.ffn.0"][0],
            num_blocks=1 + max(int(found[1]) for name in targets if (found := re.match(r"blocks\.(\d+)\.", name))),
            text_width=targets["text_embedding.0"][1],
            in_channels=in_channels,
            out_channels=targets["head.head"][0] // 4,
            image_branch="blocks.0.cross_attn.k_img" in targets,
        )
    except KeyError as missing:
        raise ModelError(
            where,
            said("no tensor {first!r}, which every Wan transformer has", first=missing.args[0]),
            remedy="Choose a Wan model, or download it again",
        ) from None


def _custom_recipe(size: WanSize, num_experts: int | None) -> WanRecipe:
    boundary = _CUSTOM_BOUNDARY[size.in_channels != size.out_channels] if num_experts != 1 else None
    title = f"Wan (width {size.width}, {size.num_blocks} blocks)"
    return WanRecipe("wan-custom", title, size, boundary, 5.0, 30, (5.0, 5.0), source="")


def _spec(recipe: WanRecipe, targets: Mapping[str, tuple[int, ...]]) -> ModelSpec:
    size = recipe.size
    large_vae = size.out_channels == 48  # Wan 2.2's own VAE, used by TI2V-5B alone
    return ModelSpec(
        name=recipe.name,
        title=recipe.title,
        shapes=targets,
        aliases=aliases(size.num_blocks) | fused_aliases(size.num_blocks),
        family="wan",
        module_kinds=_MODULE_KINDS,
        block_pattern=_BLOCK_PATTERN,
        not_applicable=() if size.image_branch else _NO_IMAGE_BRANCH,
        boundary=recipe.boundary,
        default_shift=recipe.shift,
        default_num_steps=recipe.num_steps,
        default_cfg=recipe.cfg,
        settings_source=recipe.source,
        default_clip=recipe.clip,
        latent_channels=size.out_channels,
        text_width=size.text_width,
        vae_stride=(4, 16, 16) if large_vae else (4, 8, 8),
        patch_size=_PATCH_SIZE,
        max_positions=_MAX_POSITIONS,
        image_conditioned=size.in_channels > size.out_channels,
        expand_timesteps=large_vae,
        image_embeds=size.image_branch,
        first_and_last=_FLF_POSITIONS in targets,
        fused=fused(size.num_blocks),
    )


def shapes_of(size: WanSize) -> dict[str, tuple[int, ...]]:
    """Return target -> shape of every parameter of a Wan transformer of this size."""
    letters = {
        "D": size.width,
        "6D": 6 * size.width,
        "F": size.ffn_width,
        "T": size.text_width,
        "Q": _FREQUENCY_WIDTH,
        "I": _IMAGE_WIDTH,
        "C": size.in_channels,
        "O": 4 * size.out_channels,
    }
    shapes = {}
    for row in rows(size.num_blocks):
        if row.image_branch and (not size.image_branch or row.native == _FLF_POSITIONS):
            continue
        for leaf, shape in row.leaves.items():
            numbers = tuple(letters[part] if part in letters else int(part) for part in shape.split())
            shapes[_target(row, leaf)] = numbers
    return shapes


def _target(row: NameRow, leaf: str) -> str:
    return f"{row.native}.bias" if leaf == "bias" else row.native
