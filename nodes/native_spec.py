"""What a MODEL of the host is to a stack: its own parameters as targets, under all names that the host's loaders read.

The names are the host's own (`comfy.lora`), asked for the model at hand, so that whatever core can merge has its place
here, in families nobody listed too. A name that stands for some rows of a parameter (diffusers' `to_q` of a native
`qkv`) is a section; one whose rows the host brings into another order is told by trying.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import comfy.lora
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..lora_core import ModelError, ModelSpec
from ..lora_core.families.base import ModuleKind, Section, parameter_shapes, target_of
from ..lora_core.families.registry import FAMILIES, infer_spec
from .host_spelling import host_spelling

if TYPE_CHECKING:
    from comfy.model_base import BaseModel
    from comfy.sd import CLIP

#: Where ComfyUI keeps the network inside its model, in the names of its parameters.
_ROOT = "diffusion_model."
#: What stands before every target of a text encoder; core's own names for LoRAs of one begin so.
TEXT_ENCODERS = "text_encoders."
#: No row of the registry: a network that nobody described, whose LoRAs no family's rules are about.
NATIVE_FAMILY = "comfyui"

#: Blocks are counted where the network has them, not inside its text or picture refiners.
_BLOCKS = r"(?:\w*blocks?|layers)\.(\d+)\.(.+)"

_KINDS: tuple[tuple[str, ModuleKind], ...] = (
    (rf"^{TEXT_ENCODERS}", "other"),
    (r"(^|[._])(\w*mod|modulation|\w*adaln\w*|\w*ada_?ln\w*|\w*scale_shift\w*)([._]|$)", "modulation"),
    (r"norm", "norm"),
    (r"(^|[._])(attn2|cross_attn|audio_to_video_attn|video_to_audio_attn)([._]|$)", "cross_attn"),
    (r"attn|attention|qkv|\blinear[12]\b", "self_attn"),
    (r"(^|[._])(\w*mlp\w*|ff|ffn|ff_context|feed_forward)([._]|$)", "ffn"),
    (r"^(final_layer|proj_out|head|out|last_layer)([._]|$)", "head"),
    (r"^(\w+_in|\w*embed\w*|patchify_proj|proj_in|caption_projection)([._]|$)", "embedding"),
)

_SPECS: weakref.WeakKeyDictionary[nn.Module, weakref.WeakKeyDictionary[nn.Module, dict[int, ModelSpec]]]
_SPECS = weakref.WeakKeyDictionary()


class HostTarget(NamedTuple):
    """What the host's key map has for a name: a parameter, the rows of it, what brings them into order."""

    parameter: str
    rows: tuple[int, int] | None = None
    function: Callable[[Tensor], Tensor] | None = None


def spec_of_model(patcher: ModelPatcher, clip: CLIP | None = None, *, num_experts: int, where: object) -> ModelSpec:
    """Return the spec of a MODEL, and of the CLIP beside it; the same one for as long as both live.

    A MODEL of a known family has the family's spec. Of a single MODEL that is none, or that its family does not
    describe, the spec is made of its own parameters and the host's key map.
    """
    own = _SPECS.setdefault(patcher.model, weakref.WeakKeyDictionary())
    beside = own.setdefault(patcher.model if clip is None else clip.cond_stage_model, {})
    if num_experts not in beside:
        spec = _spec_of_network(patcher, num_experts, where)
        beside[num_experts] = spec if clip is None else _with_clip(spec, clip.cond_stage_model)
    return beside[num_experts]


def _spec_of_network(patcher: ModelPatcher, num_experts: int, where: object) -> ModelSpec:
    shapes = parameter_shapes(patcher.model.diffusion_model)
    if num_experts == 2:
        return infer_spec(shapes, num_experts=2, where=where)
    if any(family.recognises(shapes) for family in FAMILIES):
        try:
            return infer_spec(shapes, num_experts=1, where=where)
        except ModelError:  # a relative, with other parts than its family has
            pass
    return _native_spec(patcher.model, shapes)


def _native_spec(model: BaseModel, shapes: Mapping[str, tuple[int, ...]]) -> ModelSpec:
    targets = {target_of(name): shape for name, shape in shapes.items()}
    names = {}
    for name, entry in comfy.lora.model_lora_keys_unet(model, {}).items():
        found = HostTarget(entry) if isinstance(entry, str) else HostTarget(*entry)
        names[name] = found._replace(parameter=found.parameter.removeprefix(_ROOT))
    aliases, sections, shapes_of_sections = _named(names, targets)
    title = type(model.model_config).__name__  # the class of a model may be the base of all
    return ModelSpec(
        name=f"{NATIVE_FAMILY}-{title.lower()}",
        title=title,
        shapes=targets | shapes_of_sections,
        aliases=aliases,
        family=NATIVE_FAMILY,
        module_kinds=_KINDS,
        block_pattern=_BLOCKS,
        first_blocks=_first_blocks(targets),
        sections=sections,
        respell=host_spelling,
    )


def _named(
    names: Mapping[str, HostTarget], targets: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, str], dict[str, Section], dict[str, tuple[int, ...]]]:
    """Return name -> target, the sections among the targets, and their shapes."""
    aliases: dict[str, str] = {}
    sections: dict[str, Section] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (parameter, rows, function) in names.items():
        whole = target_of(parameter)
        if whole not in targets or whole.endswith(".bias"):
            continue
        first, num_rows = (0, targets[whole][0]) if rows is None else rows[1:]
        order = () if function is None else _order(function, num_rows)
        if order is None or (rows is not None and rows[0] != 0):
            continue
        if rows is None and not order:
            aliases[name] = whole
            continue
        mark = f"[{first}:{first + num_rows}]" if rows else "[reordered]"
        aliases[name] = whole + mark
        for suffix in ("", ".bias"):
            if whole + suffix in targets:
                sections[f"{whole}{mark}{suffix}"] = Section(whole + suffix, first, order)
                shapes[f"{whole}{mark}{suffix}"] = (num_rows, *targets[whole + suffix][1:])
    return aliases, sections, shapes


def _order(function: Callable[[Tensor], Tensor], num_rows: int) -> tuple[int, ...] | None:
    """Return the row that each row becomes by what the host does to a change, or None where it does more than that."""
    order = tuple(function(torch.arange(num_rows).reshape(-1, 1)).flatten().tolist())
    return order if sorted(order) == list(range(num_rows)) else None


def _first_blocks(targets: Iterable[str]) -> dict[str, int]:
    """Return what stands before a block's number -> the first one's, where several rows of blocks follow each other."""
    last: dict[str, int] = {}
    for target in targets:
        group, dot, rest = target.partition(".")
        number = rest.partition(".")[0]
        if dot and number.isdigit() and group.endswith(("blocks", "block", "layers")):
            last[f"{group}."] = max(last.get(f"{group}.", 0), int(number))
    first, starts = 0, {}
    for group, number in last.items():
        starts[group] = first
        first += number + 1
    return starts


def _with_clip(spec: ModelSpec, text_encoder: nn.Module) -> ModelSpec:
    """Return a spec with the targets of a text encoder beside those of the network."""
    own = {target_of(name): shape for name, shape in parameter_shapes(text_encoder).items()}
    keys = comfy.lora.model_lora_keys_clip(text_encoder, {})
    names = {name: HostTarget(key) if isinstance(key, str) else HostTarget(*key) for name, key in keys.items()}
    aliases = {name: f"{TEXT_ENCODERS}{target}" for name, target in _named(names, own)[0].items()}
    aliases |= {target: f"{TEXT_ENCODERS}{target}" for target in own if not target.endswith(".bias")}
    return replace(
        spec,
        shapes={**spec.shapes, **{f"{TEXT_ENCODERS}{target}": shape for target, shape in own.items()}},
        aliases={**aliases, **spec.aliases},
        block_pattern=rf"(?!{TEXT_ENCODERS})(?:{spec.block_pattern})",
        module_kinds=((rf"^{TEXT_ENCODERS}", "other"), *spec.module_kinds),
    )
