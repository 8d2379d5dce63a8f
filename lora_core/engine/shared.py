"""What videos that are made one after another have in common: embedded prompts, and the steps of the first expert."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from hashlib import sha256

from torch import Tensor

from ..families.base import ModelSpec
from ..families.opened import OpenedModel
from ..plan.plan import SamplingPlan, StepPlan
from ..plan.route import RoutedLora
from ..plan.settings import RunSettings
from ..sampling.sample import AtSwitch, spans
from ..stack.hashes import sha256_of
from ..stack.region import Region
from .checked import CheckedRequest
from .record import request_row
from .request import GenerationRequest

#: Of a request, what its plan says step by step, and what is read only where a step is guided.
_IN_THE_PLAN = frozenset(field.name for field in fields(RunSettings)) | {"negative_prompt"}
#: Of a routed LoRA, what its strengths say step by step, and what changes no number.
_IN_THE_STRENGTHS = frozenset({"strength", "schedule", "name", "index", "region"})


class Shared:
    """What is kept from one `generate` to the next, of one model.

    A run whose beginning, up to the switch between the experts, is the last one's goes on from there. Prompts are
    embedded once each.
    """

    def __init__(self) -> None:
        self._texts: dict[str, Tensor] = {}
        self._key = ""
        self._at_switch: AtSwitch | None = None

    def embed(self, model: OpenedModel, prompt: str) -> Tensor:
        """Return the embedding of a prompt, computed where it is new."""
        if prompt not in self._texts:
            self._texts[prompt] = model.encode_text(prompt)
        return self._texts[prompt]

    def at_switch(self, key: str) -> AtSwitch | None:
        """Return where the last run stood at its switch, if its beginning has this key."""
        return self._at_switch if key == self._key else None

    def keep(self, key: str, at_switch: AtSwitch) -> None:
        """Keep where a run stands at its switch, instead of the one before."""
        self._key, self._at_switch = key, at_switch


def beginning_of(spec: ModelSpec, request: GenerationRequest, checked: CheckedRequest) -> str | None:
    """Return a key of all that a run's latents at the switch depend on; None where they may not be shared.

    A guide is not shared, and one expert has no switch.
    """
    num_spans = len(spans(checked.plan))
    return None if checked.guide is not None or num_spans == 1 else _key(spec, request, checked, 1)


def whole_of(spec: ModelSpec, request: GenerationRequest, checked: CheckedRequest) -> str:
    """Return a key of all that a run's latents depend on: two requests that have the same make the same video."""
    return _key(spec, request, checked, len(spans(checked.plan)))


def _key(spec: ModelSpec, request: GenerationRequest, checked: CheckedRequest, num_spans: int) -> str:
    """Hash what the first spans of a run depend on."""
    row = request_row(request, checked.clip, spec)
    radial = None if checked.radial is None else checked.radial.to_dict()
    asked = {name: value for name, value in row.items() if name not in _IN_THE_PLAN}
    return key_of(checked.plan, num_spans, {**asked, "radial": radial}, request.negative_prompt)


def key_of(plan: SamplingPlan, num_spans: int, asked: Mapping[str, object], negative: object) -> str:
    """Hash what the first spans of a plan depend on.

    Args:
        plan: of the whole run.
        num_spans: how many of its spans count.
        asked: what else there is, as plain data.
        negative: what stands for the negative prompt, where a step of these spans reads it.
    """
    runs = spans(plan)[:num_spans]
    reads_negative = any(step.cfg != 1 for _, steps in runs for step in steps)
    told = {
        "asked": asked,
        "negative": negative if reads_negative else None,
        "steps": [[_step_row(step) for step in steps] for _, steps in runs],
        "regions": [[lora.index, *_region_row(lora.region)] for lora in plan.route.all if lora.region is not None],
        "loras": [[_lora_row(lora) for lora in plan.route.for_expert(expert)] for expert, _ in runs],
    }
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _step_row(step: StepPlan) -> list[object]:
    return [step.expert, step.sigma, step.sigma_next, step.cfg, *step.strengths]


def _lora_row(lora: RoutedLora) -> dict[str, object]:
    """Return what tells one LoRA on an expert from others; fields that are added count without being named here."""
    path = lora.weights.path
    told = {field.name: getattr(lora, field.name) for field in fields(lora) if field.compare}
    return {
        **{name: repr(value) for name, value in told.items() if name not in _IN_THE_STRENGTHS},
        "file": f"in memory {id(lora.weights)}" if path is None else sha256_of(path),
        "factors": sorted(lora.factors.items()),
    }


def _region_row(region: Region) -> list[object]:
    return [str(region), region.pixels_sha256, None if region.path is None else sha256_of(region.path)]
