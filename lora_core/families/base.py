"""The spec of a model: all that reading, routing or planning must know of it.

A *target* is the canonical path of one parameter without a trailing `.weight`: `blocks.0.self_attn.q`,
`blocks.0.self_attn.q.bias`, `blocks.0.modulation`. No tensor is held here, so a spec costs nothing to keep.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

from ..checks import shape_text
from ..errors import LoraMismatchError, ModelError
from ..wording import said

if TYPE_CHECKING:
    from torch import nn

ModuleKind = Literal["self_attn", "cross_attn", "ffn", "norm", "modulation", "embedding", "head", "other"]

#: A shape nobody has stated: the target exists, its size is not known (a grammar without a model).
UNKNOWN_SHAPE: tuple[int, ...] = ()

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class DefaultClip:
    """The clip a model makes when nobody says: frames, height and width in pixels, frames per second."""

    num_frames: int
    height: int
    width: int
    fps: float


@dataclass(frozen=True)
class Section:
    """Some rows of a parameter, which other libraries keep as a module of its own: a target beside the whole.

    Attributes:
        whole: the target of the parameter that they are rows of.
        first: the first of the rows, which lie together.
        order: the row of the other library's module that each of them is; () where the order is the same.
    """

    whole: str
    first: int = 0
    order: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """One model, as everything that never runs it knows it.

    Attributes:
        name: the short name that files and presets use, such as "wan2.2-t2v-a14b".
        shapes: target -> shape of its parameter; `UNKNOWN_SHAPE` where only the name is known.
        aliases: another spelling of a module path (diffusers') -> the canonical module path.
        fused: path of a module whose outputs are those of several, in order -> their paths; the model itself, or other
            libraries, may have either form.
        with_rest: the fused modules whose last part has all outputs that are left, where each of the others has as many
            as the module has inputs; in the other ones all parts are alike.
        sections: target, which `shapes` has too -> the rows of a parameter that it stands for.
        respell: what else tensors of a file are called, where their names make sense only together; name -> name.
        family: the name of its family, a row of `registry.FAMILIES`; "" for a network of no known family.
        not_applicable: (regular expression on a target, reason) for what the family knows and this model lacks.
        module_kinds: (regular expression on a target, kind of module); the first that is found decides.
        block_pattern: regular expression on a target inside a block: the block's number, and the path inside it.
        first_blocks: what stands before a block's number -> the number that the first of these blocks counts as.
        of_text: regular expression on the targets inside blocks that the tokens of the text alone meet.
        boundary: the sigma at and above which the high-noise expert works; None for a single expert.
        default_shift, default_schedule: how the noise levels of its runs are spaced; see `plan.sigmas`.
        default_num_steps: how many steps it wants without a LoRA that shortens the run.
        default_cfg: guidance for (high_noise, low_noise) when no distilled LoRA is in use.
        embedded_guidance: the guidance that its network is told as a number, where nobody says otherwise; None for a
            network that is told none.
        settings_source: who says so of steps and guidance; "" where nobody does.
        default_clip: what it makes when nobody says.
        vae_stride: frames, rows and columns of pixels per latent element.
        text_width: of embedded texts, as its text encoder gives them; 0 where nobody says.
        max_positions: how many patches along one axis its network can tell apart; None for any number.
        image_conditioned: True when the network takes mask and image latents as further input channels (I2V).
        expand_timesteps: True when a known frame is marked by a timestep of its own (Wan TI2V-5B, Cosmos).
        known_latents: how many first latent frames its training gives it, one of these numbers for each batch; () where
            it is not told frames by their latents, or is trained without.
        image_embeds: True when the network also looks at its picture through a CLIP encoder (Wan 2.1 I2V).
        first_and_last: True when it has places for the CLIP features of two pictures, and needs both (Wan 2.1 FLF2V).
    """

    name: str
    title: str
    shapes: Mapping[str, tuple[int, ...]]
    aliases: Mapping[str, str] = field(default_factory=dict)
    family: str = ""
    not_applicable: tuple[tuple[str, str], ...] = ()
    module_kinds: tuple[tuple[str, ModuleKind], ...] = ()
    boundary: float | None = None
    block_pattern: str = r"(?:.*\.)?(?:\w*blocks|layers)\.(\d+)\.(.+)"
    first_blocks: Mapping[str, int] = field(default_factory=dict)
    of_text: str = r"(^|\.)cross_attn\.(k|v)\w*$"
    default_shift: float = 5.0
    default_schedule: Literal["flow", "karras"] = "flow"
    default_num_steps: int = 6
    default_cfg: tuple[float, float] = (1.0, 1.0)
    embedded_guidance: float | None = None
    settings_source: str = ""
    default_clip: DefaultClip = DefaultClip(1, 512, 512, 16.0)
    latent_channels: int = 0
    text_width: int = 0
    vae_stride: tuple[int, int, int] = (1, 1, 1)
    patch_size: tuple[int, int, int] = (1, 1, 1)
    max_positions: int | None = None
    image_conditioned: bool = False
    expand_timesteps: bool = False
    known_latents: tuple[int, ...] = ()
    image_embeds: bool = False
    first_and_last: bool = False
    fused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    with_rest: frozenset[str] = frozenset()
    sections: Mapping[str, Section] = field(default_factory=dict)
    respell: Callable[[Iterable[str]], Mapping[str, str]] = lambda names: {}

    @property
    def num_experts(self) -> int:
        return 1 if self.boundary is None else 2

    def find(self, module_path: str) -> str | None:
        """Return the canonical path of a dotted module or bare parameter, in any known spelling, or None."""
        if module_path in self._paths:
            return module_path
        return self.aliases.get(module_path)

    def find_flat(self, flat: str) -> str | None:
        """Return the canonical path for kohya's form, dots written as underscores, or None; by table alone."""
        return self._flat_paths.get(flat)

    def nearest(self, name: str) -> str | None:
        """Return the known path most like `name`, to suggest in a message, or None when nothing is alike."""
        match = _closest(_template(name), tuple(self._templates))
        if match is None:
            return None
        numbers = iter(_NUMBER.findall(name))
        guess = re.sub("#", lambda _: next(numbers, "0"), match)
        return self.find(guess) or self._templates[match]

    def parts_of(self, target: str) -> tuple[str, ...]:
        """Return the targets whose outputs a target stacks; itself alone where it is no fused one."""
        path = target.removesuffix(".bias")
        return tuple(part + target[len(path) :] for part in self.fused.get(path, (path,)))

    def whole_of(self, target: str) -> str | None:
        """Return the target of this model in which a target that it lacks is fused, or None."""
        path = target.removesuffix(".bias")
        whole = self._wholes.get(path)
        return None if whole is None else whole + target[len(path) :]

    def has(self, target: str) -> bool:
        """Say whether the model has a target, all that are fused in it, or what they are fused in."""
        return target in self.shapes or all(self._holds(part) for part in self.parts_of(target))

    def shape_of(self, target: str) -> tuple[int, ...]:
        """Return the shape of a target that the model has in any form; of several, one below the other."""
        if target in self.shapes:
            return tuple(self.shapes[target])
        shapes = [self._part_shape(part) for part in self.parts_of(target)]
        if UNKNOWN_SHAPE in shapes:
            return UNKNOWN_SHAPE
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def part_sizes(self, target: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return how many outputs each part of a fused target of this shape has; None where that cannot be told."""
        parts = self.parts_of(target)
        known = [self.shapes.get(part, UNKNOWN_SHAPE) for part in parts]
        if UNKNOWN_SHAPE not in known:
            sizes = tuple(part[0] for part in known)
        elif (path := target.removesuffix(".bias")) not in self.with_rest:
            sizes = (shape[0] // len(parts),) * len(parts)
        else:
            num_inputs = (shape if len(shape) > 1 else self.shapes.get(path, UNKNOWN_SHAPE))[1:2]
            whole = (*num_inputs * (len(parts) - 1), shape[0])
            sizes = (*whole[:-1], shape[0] - sum(whole[:-1])) if num_inputs else ()
        return sizes if sizes and min(sizes) > 0 and sum(sizes) == shape[0] else None

    def _holds(self, target: str) -> bool:
        return target in self.shapes or self.whole_of(target) in self.shapes

    def _part_shape(self, target: str) -> tuple[int, ...]:
        """Return the shape of a target that the model has by itself or fused in another."""
        if target in self.shapes:
            return tuple(self.shapes[target])
        whole = self.whole_of(target)
        assert whole is not None, "has() comes first"
        shape = tuple(self.shapes[whole])
        sizes = self.part_sizes(whole, shape) if shape else None
        return (sizes[self.parts_of(whole).index(target)], *shape[1:]) if sizes else UNKNOWN_SHAPE

    def why_absent(self, target: str) -> str | None:
        """Return why this model lacks a target that its family knows, or None when it is simply unknown."""
        if target in self.shapes:
            return None
        return next((reason for pattern, reason in self.not_applicable if re.search(pattern, target)), None)

    def parameter_path(self, target: str, module: nn.Module) -> tuple[str, str]:
        """Return (module path, parameter name) of `target` inside `module`, whichever naming `module` uses."""
        if target in self.sections:
            return self.parameter_path(self.sections[target].whole, module)
        for name in self._parameter_names(target):
            path, _, parameter = name.rpartition(".")
            owner = _submodule(module, path)
            if owner is not None and _has(owner, parameter):
                return path, parameter
        expected = said("nearest {near!r}", near=near) if (near := self.nearest(target)) else ""
        raise LoraMismatchError(
            type(module).__name__,
            said("no parameter for the target {target!r}", target=target),
            expected=expected,
            remedy="Choose a LoRA made for this model",
        )

    def kind_of(self, target: str) -> ModuleKind:
        """Return the kind of module that a target belongs to."""
        return next((kind for pattern, kind in self.module_kinds if re.search(pattern, target)), "other")

    def block_of(self, target: str) -> tuple[int, str] | None:
        """Return (the number of the block that a target lies in, the path inside it), or None outside the blocks."""
        match = re.fullmatch(self.block_pattern, target)
        return (int(match[1]) + self.first_blocks.get(target[: match.start(1)], 0), match[2]) if match else None

    @cached_property
    def num_blocks(self) -> int:
        """How many blocks its targets lie in."""
        return len({block[0] for target in self.shapes if (block := self.block_of(target))})

    def check_twin(self, low_noise: ModelSpec, where: object, high_noise: str) -> None:
        """Raise unless `low_noise` is the spec of this model's other expert: the same targets, of the same shapes.

        Args:
            low_noise: the spec of what is to be the low-noise expert.
            where: the file or node that gives it, for messages.
            high_noise: how the message calls this one.
        """
        targets = {**self.shapes, **low_noise.shapes}
        differing = next((t for t in targets if self.shapes.get(t) != low_noise.shapes.get(t)), None)
        if differing is not None:
            theirs, ours = (
                shape_text(spec.shapes[differing], "one number") if differing in spec.shapes else "missing"
                for spec in (low_noise, self)
            )
            what = said(
                "the low-noise expert is no twin of {high_noise}: its {differing!r} is {theirs}",
                high_noise=high_noise,
                differing=differing,
                theirs=theirs,
            )
            raise ModelError(where, what, expected=ours, remedy="Give the two files of one model")

    @cached_property
    def _paths(self) -> frozenset[str]:
        own = frozenset(target.removesuffix(".bias") for target in self.shapes)
        parts = (part for parts in self.fused.values() for part in parts)
        return own | frozenset(self.aliases.values()) | frozenset(self.fused) | frozenset(parts)

    @cached_property
    def _wholes(self) -> dict[str, str]:
        """Path of a part -> path of the fused module of this model that it is in."""
        return {part: whole for whole, parts in self.fused.items() if whole in self.shapes for part in parts}

    @cached_property
    def _flat_paths(self) -> dict[str, str]:
        spellings = {**self.aliases, **{path: path for path in self._paths}}
        return {spelling.replace(".", "_"): canonical for spelling, canonical in spellings.items()}

    @cached_property
    def _templates(self) -> dict[str, str]:
        return {_template(path): path for path in sorted(self._paths | set(self.aliases))}

    @cached_property
    def _spellings(self) -> dict[str, list[str]]:
        spellings: dict[str, list[str]] = {}
        for alias, canonical in self.aliases.items():
            spellings.setdefault(canonical, []).append(alias)
        return spellings

    def _parameter_names(self, target: str) -> Iterable[str]:
        """Yield every full parameter name that `target` may have, canonical spelling first."""
        is_bias = target.endswith(".bias")
        path = target.removesuffix(".bias")
        for spelling in (path, *self._spellings.get(path, ())):
            yield from (f"{spelling}.bias",) if is_bias else (f"{spelling}.weight", spelling)


def target_of(parameter: str) -> str:
    """Return the target that a full parameter name stands for."""
    return parameter.removesuffix(".weight")


def parameter_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return full parameter name -> shape; a packed linear weight (4-bit, GGUF) counts as what it unpacks to."""
    return {
        f"{path}.{name}" if path else name: logical_shape(owner, name)
        for path, owner in module.named_modules()
        for name, _ in owner.named_parameters(recurse=False)
    }


def logical_shape(module: nn.Module, name: str) -> tuple[int, ...]:
    """Return the shape of a module's own parameter; that of a packed linear weight is what it unpacks to."""
    if name == "weight" and isinstance(getattr(module, "in_features", None), int):
        return module.out_features, module.in_features  # type: ignore[return-value]  # every linear layer has both
    return tuple(module.get_parameter(name).shape)


@lru_cache(maxsize=256)
def _closest(template: str, templates: tuple[str, ...]) -> str | None:
    """Return the most similar template; a misspelt file has one misspelling in every block, and this is slow."""
    return next(iter(difflib.get_close_matches(template, templates, n=1, cutoff=0.5)), None)


def _template(path: str) -> str:
    return _NUMBER.sub("#", path)


def _has(owner: nn.Module, parameter: str) -> bool:
    """Say whether a module has a parameter of its own, or keeps it packed and unpacks it when it is asked."""
    is_packed = parameter == "weight" and hasattr(owner, "dequantised_weight")
    return is_packed or owner._parameters.get(parameter) is not None


def _submodule(module: nn.Module, path: str) -> nn.Module | None:
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None
