"""The Wan family, as the registry knows it."""

from __future__ import annotations

from ..family import Family, Naming
from .customs import CUSTOMS
from .forward import forward
from .names import LORA_PREFIXES, is_bare, module_to_diffusers
from .open import open_wan
from .origin import ORIGIN
from .picture import condition
from .sources import PIPELINES, POCKET
from .spec import WAN_SPEC_NAMES, infer_wan_spec, names_a_wan, wan_grammar, wan_spec

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
    open=open_wan,
    prefixes=LORA_PREFIXES,
    embedded=(POCKET,),
    pipelines=PIPELINES,
)
