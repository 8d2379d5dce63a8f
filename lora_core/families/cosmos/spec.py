"""The Cosmos models: their specs by name, and the spec of a checkpoint from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from ...checks import typed
from ...errors import ModelError
from ...wording import said
from ..base import UNKNOWN_SHAPE, DefaultClip, ModelSpec, ModuleKind, target_of
from .names import CHECKPOINT_PREFIXES, MAX_BLOCKS, aliases, is_parameter, rows, to_native

Value = TypeVar("Value")

#: Input channels beside the latents: the mask of known frames, and the padding mask, which is always zero here.
MASK_CHANNELS = 2
_LATENT_CHANNELS = 16
_PATCH_SIZE = (1, 2, 2)
_PATCH_VALUES = 4
_HEAD_WIDTH = 128
#: The length of the rotary tables over rows and columns in NVIDIA's configurations, in patches.
_MAX_POSITIONS = 120
_BLOCK_PATTERN = r"blocks\.(\d+)\.(.+)"

#: diffusers' `Cosmos2VideoToWorldPipeline`. Its guidance g adds g (conditional - unconditional) to the conditional
#: prediction: cfg = 1 + g.
_CFG = 8.0
#: What it is trained at: NVIDIA multiplies sigma_EDM of a video by the square root of its 24 latent frames.
_SHIFT = 5.0
#: One frame, or five, which NVIDIA's own training takes in turn.
_KNOWN_LATENTS = (1, 2)
_CLIP = DefaultClip(93, 704, 1280, 16.0)
_SOURCE = "diffusers' Cosmos2VideoToWorldPipeline: 35 steps, guidance 7, which is cfg 8 here"


@dataclass(frozen=True)
class CosmosSize:
    """The dimensions that tell one Cosmos transformer from another."""

    width: int
    num_blocks: int
    text_width: int = 1024
    modulation_width: int = 256
    ffn_width: int = 0
    in_channels: int = _LATENT_CHANNELS + MASK_CHANNELS
    head_width: int = _HEAD_WIDTH


@dataclass(frozen=True)
class CosmosRecipe:
    """What a checkpoint does not say. The 480p, 720p, 10 and 16 fps checkpoints of a size have equal shapes."""

    name: str
    title: str
    size: CosmosSize
    num_steps: int = 35
    cfg: float = _CFG
    clip: DefaultClip = _CLIP
    source: str = _SOURCE


#: The name of the tiny one that comes with the package.
POCKET_SPEC = "cosmos-pocket"

#: Sizes: the configurations of NVIDIA's cosmos-predict2 repository.
_RECIPES: tuple[CosmosRecipe, ...] = (
    CosmosRecipe(
        "cosmos-predict2-2b-video2world", "Cosmos Predict2 2B Video2World", CosmosSize(2048, 28, ffn_width=8192)
    ),
    CosmosRecipe(
        "cosmos-predict2-14b-video2world", "Cosmos Predict2 14B Video2World", CosmosSize(5120, 36, ffn_width=20480)
    ),
    CosmosRecipe(
        POCKET_SPEC,
        "Cosmos pocket",
        CosmosSize(128, 6, text_width=64, modulation_width=32, ffn_width=512, head_width=32),
        num_steps=30,
        cfg=3.5,
        clip=DefaultClip(17, 64, 64, 16.0),
        source="the pocket's table of quality",
    ),
)

#: Regular expression on a target -> the kind of module it belongs to, for target filters; the first found decides.
_MODULE_KINDS: tuple[tuple[str, ModuleKind], ...] = (
    (r"(^|\.)adaln_modulation\w*(\.|$)", "modulation"),
    (r"(^|\.)(\w+_norm|t_embedding_norm)$", "norm"),
    (r"^[xt]_embedder(\.|$)", "embedding"),
    (r"(^|\.)self_attn\.", "self_attn"),
    (r"(^|\.)cross_attn\.", "cross_attn"),
    (r"(^|\.)mlp\.", "ffn"),
    (r"^final_layer\.", "head"),
)

#: The names that `cosmos_spec` answers to.
COSMOS_SPEC_NAMES: tuple[str, ...] = tuple(recipe.name for recipe in _RECIPES)


@typed(ModelError)
@cache
def cosmos_spec(name: str) -> ModelSpec:
    """Return the spec of a published Cosmos model by its name."""
    for recipe in _RECIPES:
        if recipe.name == name:
            return _spec(recipe, shapes_of(recipe.size))
    raise ModelError(
        name,
        "no Cosmos model has this name",
        expected=said("one of {names}", names=", ".join(COSMOS_SPEC_NAMES)),
        remedy="Choose one of them",
    )


@cache
def cosmos_grammar() -> ModelSpec:
    """Return a spec that knows every name of the family and no shape, for reading a file without a model."""
    shapes = {row.native: UNKNOWN_SHAPE for row in rows(MAX_BLOCKS)}
    recipe = CosmosRecipe("cosmos", "Cosmos (any size)", CosmosSize(0, MAX_BLOCKS, text_width=0))
    return _spec(recipe, shapes)


@typed(ModelError)
def infer_cosmos_spec(
    shapes: Mapping[str, tuple[int, ...]], *, num_experts: int | None = None, where: object = "checkpoint"
) -> ModelSpec:
    """Return the spec of a checkpoint from its full tensor names, native or diffusers', with or without a prefix.

    Args:
        shapes: tensor name -> shape; tensors that are no parameters of a Cosmos become targets of their own.
        num_experts: every Cosmos has one, and 2 are an error.
        where: the file, for messages.
    """
    targets = _in_order({target_of(name): tuple(shape) for name, shape in native_shapes(shapes, where).items()})
    size = _size_of(targets, where)
    if num_experts == 2:
        raise ModelError(
            where,
            "is a Cosmos, which has one expert",
            expected="one file",
            remedy="Leave the low-noise expert out",
        )
    published = next((recipe for recipe in _RECIPES if recipe.size == size), None)
    title = f"Cosmos (width {size.width}, {size.num_blocks} blocks)"
    return _spec(published or CosmosRecipe("cosmos-custom", title, size), targets)


def names_a_cosmos(names: Iterable[str]) -> bool:
    """Say whether tensor names, native or diffusers', under any known prefix, are those of a Cosmos transformer."""
    return checkpoint_prefix(names) is not None


def native_shapes(shapes: Mapping[str, tuple[int, ...]], where: object = "checkpoint") -> dict[str, tuple[int, ...]]:
    """Return the parameters' shapes under native names without prefix; unknown names stay as they are."""
    prefix = checkpoint_prefix(shapes)
    if prefix is None:
        raise ModelError(
            where,
            "its tensors are not those of a Cosmos transformer",
            expected="blocks.0.…, final_layer.…",
            remedy="Choose a Cosmos Predict2 model",
        )
    return {to_native(name) or name: shape for name, shape in parameters_behind(prefix, shapes).items()}


def parameters_behind(prefix: str, entries: Mapping[str, Value]) -> dict[str, Value]:
    """Return what stands behind a prefix in a checkpoint, without it and without what is no parameter."""
    bare = {name.removeprefix(prefix): entry for name, entry in entries.items() if name.startswith(prefix)}
    return {name: entry for name, entry in bare.items() if is_parameter(name)}


#: One tensor that only a Cosmos Predict2 transformer has, in each naming.
_SIGNS = ("blocks.0.adaln_modulation_self_attn.1.weight", "transformer_blocks.0.norm1.linear_1.weight")


def checkpoint_prefix(names: Iterable[str]) -> str | None:
    """Return what stands before every name of a Cosmos transformer's checkpoint, or None when it is another model's."""
    present = set(names)
    return next((p for p in CHECKPOINT_PREFIXES if any(p + sign in present for sign in _SIGNS)), None)


def _in_order(targets: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return targets in the order in which the network has them, whatever order a file stores them in."""
    place = {target: index for index, target in enumerate(cosmos_grammar().shapes)}
    return dict(sorted(targets.items(), key=lambda item: place.get(item[0], len(place))))


def _size_of(targets: Mapping[str, tuple[int, ...]], where: object) -> CosmosSize:
    try:
        width, num_values = targets["x_embedder.proj.1"]
        return CosmosSize(
            width=width,
            num_blocks=1 + max(int(found[1]) for name in targets if (found := re.match(_BLOCK_PATTERN, name))),
            text_width=targets["blocks.0.cross_attn.k_proj"][1],
            modulation_width=targets["blocks.0.adaln_modulation_self_attn.1"][0],
            ffn_width=targets["blocks.0.mlp.layer1"][0],
            in_channels=num_values // _PATCH_VALUES,
            head_width=targets["blocks.0.self_attn.q_norm"][0],
        )
    except KeyError as missing:
        raise ModelError(
            where,
            said("no tensor {first!r}, which every Cosmos transformer has", first=missing.args[0]),
            remedy="Choose a Cosmos Predict2 model, or download it again",
        ) from None


def _spec(recipe: CosmosRecipe, targets: Mapping[str, tuple[int, ...]]) -> ModelSpec:
    size = recipe.size
    return ModelSpec(
        name=recipe.name,
        title=recipe.title,
        shapes=targets,
        aliases=aliases(size.num_blocks),
        family="cosmos",
        module_kinds=_MODULE_KINDS,
        block_pattern=_BLOCK_PATTERN,
        default_shift=_SHIFT,
        default_schedule="karras",
        default_num_steps=recipe.num_steps,
        default_cfg=(recipe.cfg, recipe.cfg),
        settings_source=recipe.source,
        default_clip=recipe.clip,
        latent_channels=_LATENT_CHANNELS,
        text_width=size.text_width,
        vae_stride=(4, 8, 8),
        patch_size=_PATCH_SIZE,
        max_positions=_MAX_POSITIONS,
        expand_timesteps=True,
        known_latents=_KNOWN_LATENTS,
    )


def shapes_of(size: CosmosSize) -> dict[str, tuple[int, ...]]:
    """Return target -> shape of every parameter of a Cosmos transformer of this size."""
    letters = {
        "D": size.width,
        "2D": 2 * size.width,
        "3D": 3 * size.width,
        "F": size.ffn_width,
        "T": size.text_width,
        "A": size.modulation_width,
        "K": size.head_width,
        "P": _PATCH_VALUES * size.in_channels,
        "O": _PATCH_VALUES * _LATENT_CHANNELS,
    }
    return {row.native: tuple(letters[part] for part in row.weight.split()) for row in rows(size.num_blocks)}
