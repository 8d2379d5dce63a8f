"""The Wan family, as the registry knows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..family import Family, Naming
from .config import stating_metadata
from .customs import CUSTOMS
from .forward import forward
from .names import LORA_PREFIXES, REGIONS, is_bare, module_to_diffusers
from .origin import ORIGIN
from .padding import fold_padding, folds_padding
from .parallel import PARALLEL
from .picture import condition, condition_shapes
from .pocket import POCKET_LORAS, POCKET_MODELS, pocket_lora
from .pruning import prune_width
from .self_attention import NATIVE, head_width, replace_self_attention
from .sources import PIPELINES
from .spec import WAN_SPEC_NAMES, infer_wan_spec, names_a_wan, wan_grammar, wan_spec

if TYPE_CHECKING:
    from .model import WanModel


def _open(source: str | Path, **pieces: Any) -> WanModel:
    from .open import open_wan  # a host never opens a model this way, and does not wait for it

    return open_wan(source, **pieces)


WAN = Family(
    name="wan",
    title="Wan",
    spec_names=WAN_SPEC_NAMES,
    spec=wan_spec,
    grammar=wan_grammar,
    recognises=names_a_wan,
    infer=infer_wan_spec,
    naming=Naming(module_to_diffusers, is_bare),
    origin=ORIGIN,
    customs=CUSTOMS,
    forward=forward,
    condition=condition,
    condition_shapes=condition_shapes,
    open=_open,
    prefixes=LORA_PREFIXES,
    embedded=tuple(POCKET_MODELS),
    loras={name: pocket_lora(name) for name in POCKET_LORAS},
    pipelines=PIPELINES,
    folds_padding=folds_padding,
    fold_padding=fold_padding,
    prune_width=prune_width,
    self_attention=replace_self_attention,
    head_width=head_width,
    native_attention=NATIVE,
    regions=REGIONS,
    parallel=PARALLEL,
    header=stating_metadata,
)
