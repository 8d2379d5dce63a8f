"""The node that lets LoRAs of a small model steer a large one."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy_api.latest import io

from ..lora_core import LoraStack, ModelError, SteerSettings
from ..lora_core.checks import number_in_text
from ..lora_core.engine.request import Clip
from ..lora_core.errors import PlanError
from ..lora_core.plan.report import SAID_BY_ROWS, report_on_stack
from ..lora_core.plan.steering import Above, check_guide, cost_text
from ..lora_core.stack.schedule import StrengthSchedule
from ..lora_core.wording import Said, joined, said
from .base import Node, schema, shown
from .sockets import GuideHandle, LoraStackType, WanModelHandle, WanModelType
from .stack_on_model import with_more

_NAME = "SteerByModel"


class SteerByModel(Node):
    """Let the LoRAs of a small model steer a large one of other shapes: what they change there is added here."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Steer By Model",
            search_aliases=["delta sampling", "guide model", "1.3B lora on 14B", "proxy tuning", "lora transfer"],
            has_intermediate_output=True,
            inputs=[
                WanModelType.Input("model", tooltip="The large model, with LoRAs of its own or without."),
                WanModelType.Input(
                    "guide", tooltip="A small model on the same latents and text encoder; LoRAs on it steer."
                ),
                io.Float.Input(
                    "strength",
                    default=SteerSettings.strength,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    round=0.001,
                    tooltip="How much of what the LoRAs change in the guide is added; 1 is all of it.",
                ),
                io.String.Input(
                    "schedule",
                    default="",
                    tooltip="A factor on the strength by noise level, such as fade_out or hold:1=1,0.9=0; empty is 1.",
                ),
                io.String.Input(
                    "above",
                    default="auto",
                    tooltip="The noise level (sigma) down to which the guide steers. 'auto' spares the low-noise steps "
                    "of a run with a speed LoRA, 'none' spares no step.",
                ),
                io.Float.Input(
                    "cfg",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="The guide's own guidance; 0 takes the sampler's. 1 costs half of any other.",
                ),
                LoraStackType.Input("stack", optional=True, tooltip="More LoRAs for the guide."),
            ],
            outputs=[
                WanModelType.Output("model", display_name="model", tooltip="The large model with its guide."),
                io.String.Output("report", display_name="report", tooltip="What steers it, when, and what that costs."),
            ],
        )

    @classmethod
    def validate_inputs(cls, schedule: str | None = None, above: str | None = None) -> bool | str:
        return cls.checked(lambda: (_parse_schedule(schedule), _parse_above(above)))

    @classmethod
    def execute(
        cls,
        model: WanModelHandle,
        guide: WanModelHandle,
        strength: float,
        schedule: str,
        above: str,
        cfg: float,
        stack: LoraStack | None = None,
    ) -> io.NodeOutput:
        _check(model, guide)
        settings = SteerSettings(
            strength=strength, schedule=_parse_schedule(schedule), above=_parse_above(above), cfg=cfg or None
        )
        own = guide.with_loras(with_more(guide, stack or LoraStack()))
        changed = replace(model, guide=GuideHandle(own, settings))
        report = _report(changed, own)
        return io.NodeOutput(changed, report, ui=shown(report))


def _check(model: WanModelHandle, guide: WanModelHandle) -> None:
    check_guide(model.spec, guide.spec)
    if model.guide is not None:
        raise ModelError(_NAME, "a guide steers the model already", remedy="Put all LoRAs on one guide")
    if guide.guide is not None:
        raise ModelError(_NAME, "the guide is steered by a guide of its own", remedy="Connect it without")
    ours = {id(patcher.model) for patcher in model.get_models()}
    if any(id(patcher.model) in ours for patcher in guide.get_models()):
        remedy = "Put the LoRAs on the model itself with ApplyLoraStack"
        raise ModelError(_NAME, "the guide is the model itself", expected="a smaller model", remedy=remedy)
    probe = torch.stack([torch.zeros(model.spec.latent_channels), torch.ones(model.spec.latent_channels)])
    scaled = [one.low_noise.model.process_latent_in(probe[..., None, None, None]) for one in (model, guide)]
    if not torch.allclose(*scaled):
        raise ModelError(
            _NAME,
            "the guide scales its latents otherwise",
            expected="a model on the same latents",
            remedy="Choose another guide",
        )


def _report(model: WanModelHandle, guide: WanModelHandle) -> Said:
    """Say what steers the model, when in the run that is planned so far, and what it costs there."""
    plan, usual = model.plan(model.settings), model.spec.default_clip
    clip = Clip.of(model.spec, num_frames=usual.num_frames, height=usual.height, width=usual.width, fps=usual.fps)
    cost = cost_text(plan, model.spec, guide.spec, clip.latent_shape)
    size = said(
        "{cost} (at {frames} frames of {width}x{height})",
        cost=cost,
        frames=usual.num_frames,
        width=usual.width,
        height=usual.height,
    )
    rows_of_loras = [row.text() for row in report_on_stack(guide.loaded, guide.route()).rows]
    return joined("\n", [*rows_of_loras, size, plan.table(without=SAID_BY_ROWS)])


def _parse_schedule(text: str | None) -> StrengthSchedule | None:
    return StrengthSchedule.parse(text) if text and text.strip() else None


def _parse_above(text: str | None) -> Above:
    words: dict[str, Above] = {"auto": "auto", "": "auto", "none": None}
    word = (text or "").strip().lower()
    if word in words:
        return words[word]
    above = number_in_text(word, "above", PlanError)
    SteerSettings(above=above)
    return above
