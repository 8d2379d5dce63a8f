"""The HunyuanVideo models: their specs by name, and the spec of a checkpoint from the names and shapes of its tensors.

A network as ComfyUI has it keeps its fused modules (`double_blocks.0.img_attn.qkv`); one of diffusers has their parts.
A spec has the targets of the network at hand, and takes LoRAs of either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from ...checks import typed
from ...errors import ModelError
from ...wording import said
from ..base import UNKNOWN_SHAPE, DefaultClip, ModelSpec, ModuleKind
from .names import CHECKPOINT_PREFIXES, LAST_MODULATION, MAX_BLOCKS, SCALE_SHIFT, aliases, fused, has_rest, rows

_FREQUENCY_WIDTH = 256
#: Of the published model, where its single blocks begin to count.
_NUM_DOUBLE = 20
_BLOCK_PATTERN = r"(?:double|single)_blocks\.(\d+)\.(.+)"

#: Regular expression on a target -> its kind, the first found decides. The first layer of a single block makes q, k, v
#: and what goes into the MLP at once, so it counts as attention in networks that have it in parts too.
_MODULE_KINDS: tuple[tuple[str, ModuleKind], ...] = (
    (r"_mod\.lin(\.|$)|\.modulation\.lin(\.|$)|adaLN_modulation|^final_layer\.(scale|shift)", "modulation"),
    (r"^(img|time|vector|guidance|txt)_in\.", "embedding"),
    (r"\.norm\.(query|key)_norm", "norm"),
    (r"_attn\.|\.linear1(\.|$)", "self_attn"),
    (r"_mlp\.|\.linear2(\.|$)", "ffn"),
    (r"^final_layer\.", "head"),
)


@dataclass(frozen=True)
class HunyuanSize:
    """The dimensions that tell one HunyuanVideo transformer from another."""

    width: int = 3072
    mlp_width: int = 12288
    head_width: int = 128
    num_double: int = 20
    num_single: int = 40
    num_refiner: int = 2
    text_width: int = 4096
    pooled_width: int = 768
    in_channels: int = 16
    out_channels: int = 16
    takes_guidance: bool = True


@dataclass(frozen=True)
class _Recipe:
    name: str
    title: str
    size: HunyuanSize
    num_steps: int
    shift: float
    guidance: float | None


#: Settings: the authors' `hyvideo/config.py` (flow_shift 7, 50 steps, embedded_cfg_scale 6), and ComfyUI's.
_RECIPES = (
    _Recipe("hunyuan-video", "HunyuanVideo", HunyuanSize(), 50, 7.0, 6.0),
    _Recipe(
        "hunyuan-video-i2v",
        "HunyuanVideo I2V",
        HunyuanSize(in_channels=33, takes_guidance=False),
        50,
        7.0,
        None,
    ),
)
_CLIP = DefaultClip(129, 720, 1280, 24.0)
_SOURCE = "HunyuanVideo's own configuration"

#: The names that `hunyuan_spec` answers to.
SPEC_NAMES: tuple[str, ...] = tuple(recipe.name for recipe in _RECIPES)

#: What only a transformer of this house has, in its own naming and in diffusers'; and of those, this one alone.
_SIGNS = (
    "txt_in.individual_token_refiner.blocks.0.norm1.weight",
    "context_embedder.token_refiner.refiner_blocks.0.norm1.weight",
)
_POOLED = ("vector_in.in_layer.weight", "time_text_embed.text_embedder.linear_1.weight")
_RELATIVES: tuple[tuple[str, str], ...] = (
    ("cond_type_embed", "HunyuanVideo 1.5"),  # native `cond_type_embedding`, diffusers' `cond_type_embed`
    ("clean_x_embedder", "FramePack"),
    ("byt5_in.", "HunyuanImage"),
    ("context_embedder_2.", "HunyuanImage"),
)


@typed(ModelError)
@cache
def hunyuan_spec(name: str) -> ModelSpec:
    """Return the spec of a published model by its name, as diffusers has its network."""
    for recipe in _RECIPES:
        if recipe.name == name:
            return _spec(recipe, shapes_of(recipe.size))
    raise ModelError(
        name,
        "no HunyuanVideo model has this name",
        expected=said("one of {names}", names=", ".join(SPEC_NAMES)),
        remedy="Choose one of them",
    )


@cache
def hunyuan_grammar() -> ModelSpec:
    """Return a spec that knows every name of the family, in parts, and no shape: for reading a file without a model."""
    size = HunyuanSize(num_double=MAX_BLOCKS, num_single=MAX_BLOCKS)
    recipe = _Recipe("hunyuan", "HunyuanVideo (any size)", size, 50, 7.0, 6.0)
    return _spec(recipe, dict.fromkeys(shapes_of(size), UNKNOWN_SHAPE))


@typed(ModelError)
def infer_hunyuan_spec(
    shapes: Mapping[str, tuple[int, ...]], *, num_experts: int | None = None, where: object = "checkpoint"
) -> ModelSpec:
    """Return the spec of a network or checkpoint from its full tensor names; fused modules stay fused.

    Args:
        shapes: tensor name -> shape, in any naming, with or without a prefix.
        num_experts: 1 where it is known; there is no HunyuanVideo of two.
        where: the file, for messages.
    """
    if num_experts == 2:
        what = "HunyuanVideo has one expert, and two are given"
        raise ModelError(where, what, remedy="Leave the low-noise expert out")
    targets = canonical_shapes(shapes, where)
    size = _size_of(targets, where)
    matching = [recipe for recipe in _RECIPES if recipe.size == size]
    return _spec(matching[0] if matching else _custom(size), targets)


def names_a_hunyuan(names: Iterable[str]) -> bool:
    """Say whether tensor names, in any naming and under any known prefix, are those of a HunyuanVideo 1.0."""
    present = set(names)
    prefix = checkpoint_prefix(present)
    return prefix is not None and any(prefix + sign in present for sign in _POOLED) and not relative_of_names(present)


def relative_of_names(names: Iterable[str]) -> str:
    """Return the relative of HunyuanVideo 1.0 whose checkpoint has such names, or ""."""
    present = set(names)
    prefix = checkpoint_prefix(present)
    if prefix is None:
        return ""
    bare = [name.removeprefix(prefix) for name in present]
    return next((title for start, title in _RELATIVES if any(name.startswith(start) for name in bare)), "")


def checkpoint_prefix(names: Iterable[str]) -> str | None:
    """Return what stands before every name of a checkpoint of this house, or None when it is another model's."""
    present = set(names)
    return next((p for p in CHECKPOINT_PREFIXES if any(p + sign in present for sign in _SIGNS)), None)


def canonical_shapes(shapes: Mapping[str, tuple[int, ...]], where: object) -> dict[str, tuple[int, ...]]:
    """Return target -> shape in the network's order; unknown names become targets of their own."""
    prefix = checkpoint_prefix(shapes)
    if prefix is None:
        raise ModelError(
            where,
            "its tensors are not those of a HunyuanVideo transformer",
            expected="double_blocks.0.…, txt_in.…",
            remedy="Choose a HunyuanVideo model",
        )
    found = {canonical_target(name.removeprefix(prefix)): tuple(shape) for name, shape in shapes.items()}
    place = {target: index for index, target in enumerate(_all_targets())}
    return dict(sorted(found.items(), key=lambda item: place.get(item[0], len(place))))


def canonical_target(name: str) -> str:
    """Return the target that a full parameter name stands for, in any naming, without a prefix."""
    path, _, leaf = name.rpartition(".")
    path = aliases().get(path, path)
    return path if leaf == "weight" else f"{path}.{leaf}"


def in_parts(spec: ModelSpec) -> ModelSpec:
    """Return the spec of the same model as diffusers has its network, every fused module in parts."""
    shapes: dict[str, tuple[int, ...]] = {}
    for target, shape in spec.shapes.items():
        if (path := target.removesuffix(".bias")) == LAST_MODULATION:
            shapes[SCALE_SHIFT + target[len(path) :]] = shape
            continue
        sizes = spec.part_sizes(target, shape) if path in spec.fused and path != SCALE_SHIFT else None
        parts = spec.parts_of(target) if sizes else (target,)
        shapes |= {part: (size, *shape[1:]) for part, size in zip(parts, sizes or (shape[0],), strict=True)}
    return replace(spec, shapes=shapes)


def shapes_of(size: HunyuanSize, *, are_fused: bool = False) -> dict[str, tuple[int, ...]]:
    """Return target -> shape of every parameter of a transformer of this size, as diffusers has it or ComfyUI."""
    letters = {
        "D": size.width,
        "2D": 2 * size.width,
        "3D": 3 * size.width,
        "6D": 6 * size.width,
        "M": size.mlp_width,
        "S": size.width + size.mlp_width,
        "H": size.head_width,
        "T": size.text_width,
        "V": size.pooled_width,
        "Q": _FREQUENCY_WIDTH,
        "C": size.in_channels,
        "O": 4 * size.out_channels,
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for row in rows(size.num_double, size.num_single, size.num_refiner):
        if row.native.startswith("guidance_in.") and not size.takes_guidance:
            continue
        if row.parts:
            widths = {part: letters[letter] for part, (_, letter) in row.parts.items()}
            for path, width in ({row.native: sum(widths.values())} if are_fused else widths).items():
                shapes |= {path: (width, size.width), f"{path}.bias": (width,)}
            continue
        for leaf, shape in row.leaves.items():
            numbers = tuple(letters[part] if part in letters else int(part) for part in shape.split())
            shapes[row.native if leaf == "weight" else f"{row.native}.{leaf}"] = numbers
    last = LAST_MODULATION if are_fused else SCALE_SHIFT
    return shapes | {last: (2 * size.width, size.width), f"{last}.bias": (2 * size.width,)}


@cache
def _all_targets() -> tuple[str, ...]:
    """Return every target in the order in which a network has them, fused modules before their parts."""
    paths = (path for row in rows() for path in (row.native, *row.parts))
    return tuple(target for path in paths for target in (path, f"{path}.bias"))


def _size_of(targets: Mapping[str, tuple[int, ...]], where: object) -> HunyuanSize:
    try:
        width, in_channels = targets["img_in.proj"][:2]
        return HunyuanSize(
            width=width,
            mlp_width=targets["double_blocks.0.img_mlp.0"][0],
            head_width=targets["double_blocks.0.img_attn.norm.query_norm"][0],
            num_double=_count("double_blocks", targets),
            num_single=_count("single_blocks", targets),
            num_refiner=_count("txt_in.individual_token_refiner.blocks", targets),
            text_width=targets["txt_in.input_embedder"][1],
            pooled_width=targets["vector_in.in_layer"][1],
            in_channels=in_channels,
            out_channels=targets["final_layer.linear"][0] // 4,
            takes_guidance="guidance_in.in_layer" in targets,
        )
    except KeyError as missing:
        raise ModelError(
            where,
            said("no tensor {first!r}, which every HunyuanVideo transformer has", first=missing.args[0]),
            remedy="Choose a HunyuanVideo model, or download it again",
        ) from None


def _count(stem: str, targets: Iterable[str]) -> int:
    numbers = (re.match(re.escape(stem) + r"\.(\d+)\.", target) for target in targets)
    return 1 + max((int(found[1]) for found in numbers if found), default=-1)


def _custom(size: HunyuanSize) -> _Recipe:
    title = f"HunyuanVideo (width {size.width}, {size.num_double} + {size.num_single} blocks)"
    return _Recipe("hunyuan-custom", title, size, 50, 7.0, 6.0 if size.takes_guidance else None)


def _spec(recipe: _Recipe, targets: Mapping[str, tuple[int, ...]]) -> ModelSpec:
    size = recipe.size
    made_of = fused(size.num_double, size.num_single)
    return ModelSpec(
        name=recipe.name,
        title=recipe.title,
        shapes=targets,
        aliases=aliases(size.num_double, size.num_single),
        family="hunyuan",
        module_kinds=_MODULE_KINDS,
        block_pattern=_BLOCK_PATTERN,
        first_blocks={"single_blocks.": min(size.num_double, _NUM_DOUBLE)},
        of_text=r"\.txt_",
        default_shift=recipe.shift,
        default_num_steps=recipe.num_steps,
        default_cfg=(1.0, 1.0),
        embedded_guidance=recipe.guidance,
        settings_source=_SOURCE,
        default_clip=_CLIP,
        latent_channels=size.out_channels,
        text_width=size.text_width,
        vae_stride=(4, 8, 8),
        patch_size=(1, 2, 2),
        image_conditioned=size.in_channels > size.out_channels,
        fused=made_of,
        with_rest=frozenset(path for path in made_of if has_rest(path)),
    )
