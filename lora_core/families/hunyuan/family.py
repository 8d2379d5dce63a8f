"""The HunyuanVideo family, as the registry knows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..family import Family, Naming
from .condition import condition, condition_shapes
from .customs import CUSTOMS
from .forward import forward
from .names import REGIONS, joined_natively, module_to_diffusers
from .origin import ORIGIN
from .parallel import PARALLEL
from .self_attention import NATIVE, head_width, replace_self_attention
from .sources import PIPELINES
from .spec import (
    SPEC_NAMES,
    hunyuan_grammar,
    hunyuan_spec,
    infer_hunyuan_spec,
    names_a_hunyuan,
    relative_of_names,
)

if TYPE_CHECKING:
    from .model import HunyuanModel


def _open(source: str | Path, **pieces: Any) -> HunyuanModel:
    from .open import open_hunyuan  # a host never opens a model this way, and does not wait for it

    return open_hunyuan(source, **pieces)


HUNYUAN = Family(
    name="hunyuan",
    title="HunyuanVideo",
    spec_names=SPEC_NAMES,
    spec=hunyuan_spec,
    grammar=hunyuan_grammar,
    recognises=names_a_hunyuan,
    infer=infer_hunyuan_spec,
    naming=Naming(module_to_diffusers, lambda target: False, joined_natively()),
    origin=ORIGIN,
    customs=CUSTOMS,
    forward=forward,
    condition=condition,
    condition_shapes=condition_shapes,
    open=_open,
    pipelines=PIPELINES,
    relative=relative_of_names,
    folds_padding=lambda spec: True,  # `forward` leaves out what is padding in all texts of a batch
    self_attention=replace_self_attention,
    head_width=head_width,
    native_attention=NATIVE,
    regions=REGIONS,
    parallel=PARALLEL,
)
