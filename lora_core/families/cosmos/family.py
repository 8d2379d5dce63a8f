"""The Cosmos family, as the registry knows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base import ModelSpec
from ..family import Customs, Family, Naming
from .clips import clip_table
from .config import stating_metadata
from .forward import forward
from .names import LORA_PREFIXES, REGIONS, module_to_diffusers
from .origin import ORIGIN
from .parallel import PARALLEL
from .picture import condition, condition_shapes
from .pocket import POCKET_COSMOS, POCKET_COSMOS_LORA, cosmos_pocket_lora
from .sources import PIPELINES
from .spec import COSMOS_SPEC_NAMES, POCKET_SPEC, cosmos_grammar, cosmos_spec, infer_cosmos_spec, names_a_cosmos

if TYPE_CHECKING:
    from ..opened import OpenedModel


def _open(source: str | Path, **pieces: Any) -> OpenedModel:
    from .open import open_cosmos  # a host never opens a model this way, and does not wait for it

    return open_cosmos(source, **pieces)


def _licence(spec: ModelSpec) -> str:
    """Return the licence of NVIDIA's weights and of those trained on from them; the pocket's are the project's own."""
    return "" if spec.name == POCKET_SPEC else "NVIDIA Open Model License"


COSMOS = Family(
    name="cosmos",
    title="Cosmos",
    spec_names=COSMOS_SPEC_NAMES,
    spec=cosmos_spec,
    grammar=cosmos_grammar,
    recognises=names_a_cosmos,
    infer=infer_cosmos_spec,
    naming=Naming(module_to_diffusers, is_bare=lambda target: False),
    origin=ORIGIN,
    customs=Customs(
        guardrail_licence=_licence, instructions=lambda spec, _: "pocket" if spec.name == POCKET_SPEC else "cosmos"
    ),
    forward=forward,
    condition=condition,
    condition_shapes=condition_shapes,
    open=_open,
    prefixes=LORA_PREFIXES,
    embedded=(POCKET_COSMOS,),
    loras={POCKET_COSMOS_LORA: cosmos_pocket_lora()},
    pipelines=PIPELINES,
    folds_padding=lambda spec: True,
    header=stating_metadata,
    regions=REGIONS,
    parallel=PARALLEL,
    clip_table=clip_table,
)
