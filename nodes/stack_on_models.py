"""The node that puts a stack of LoRAs on plain MODELs, in the place of a graph's LoRA loaders."""

from __future__ import annotations

from dataclasses import replace

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy_api.latest import io

from ..lora_core import LoraStack, RunSettings
from ..lora_core.plan.report import report_on_stack
from .base import Missing, Node, schema
from .bridge import bind, patched_shift
from .clip_parts import clip_parts, network_parts, notes_on_clip
from .merged import merged_clip
from .native_spec import NATIVE_FAMILY, spec_of_model
from .noise_levels import usual_levels
from .sockets import LoraStackType, WanModelHandle, model_of
from .stack_files import fingerprint_stack, parse_stack
from .stack_on_model import shown_report, with_more, words_of
from .widgets import partial_widget, schedule_widgets, stack_widget, words_output


class LoraStackOnModels(Node):
    """Put a stack of LoRAs on any MODEL, or on both of Wan 2.2: the graph's loaders and samplers stay as they are."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        steps, _ = schedule_widgets()
        return schema(
            cls,
            display_name="LoRA Stack On Models",
            search_aliases=["lora loader", "power lora", "ksampler lora", "lora stack", "wan moe lora", "drop-in"],
            has_intermediate_output=True,
            inputs=[
                io.Model.Input(
                    "high_noise",
                    tooltip="A MODEL of any kind (Flux, LTX, Qwen-Image, ...); of a Wan 2.2 the high-noise expert.",
                ),
                io.Model.Input("low_noise", optional=True, tooltip="The low-noise expert, of a Wan 2.2 alone."),
                stack_widget(),
                LoraStackType.Input(
                    "stack", optional=True, tooltip="More LoRAs, from Load LoRA Stack; they come first."
                ),
                steps,
                partial_widget(),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text encoder of the model, for LoRAs that change it too; Wan's do not.",
                ),
            ],
            outputs=[
                io.Model.Output("high_noise", display_name="high_noise", tooltip="The MODEL with its LoRAs."),
                io.Model.Output("low_noise", display_name="low_noise", tooltip="The low-noise expert."),
                io.String.Output("report", display_name="report", tooltip="What became of every file and tensor."),
                LoraStackType.Output("stack", display_name="stack", tooltip="All LoRAs, to save or reuse."),
                words_output(),
                io.Clip.Output("clip", display_name="clip", tooltip="The text encoder with its parts of the LoRAs."),
            ],
        )

    @classmethod
    def validate_inputs(cls, loras: str | None = None) -> bool | str:
        return cls.checked(lambda: None if loras is None else parse_stack(loras, cls.name()))

    @classmethod
    def fingerprint_inputs(cls, loras: str | None = None, **_: object) -> object:
        return None if loras is None else fingerprint_stack(loras)

    @classmethod
    def execute(
        cls,
        high_noise: ModelPatcher,
        loras: str,
        steps: int,
        low_noise: ModelPatcher | None = None,
        stack: LoraStack | None = None,
        clip: CLIP | None = None,
        allow_partial: bool = False,
    ) -> io.NodeOutput:
        model = _model(high_noise, low_noise, clip, cls.name())
        rows = (stack or LoraStack()).joined(parse_stack(loras, cls.name()))
        loaded = with_more(model, rows, allow_partial=allow_partial)
        changed = model.with_loras(loaded, allow_partial=allow_partial)
        route = changed.route()
        on_clip = clip_parts(route.all)
        notes = tuple(notes_on_clip(loaded, has_clip=clip is not None, loras=on_clip))
        report = report_on_stack(loaded, route)
        report = replace(report, advice=(*report.advice, *notes))
        first, *second = _bound(changed, steps)
        none = Missing(cls.name(), "one MODEL was given, and it is at the first output", "Connect low_noise")
        no_clip = Missing(cls.name(), "no CLIP was given", "Connect clip")
        text_encoder = no_clip if clip is None else merged_clip(clip, on_clip, model.spec)
        low, ui = second[0] if second else none, shown_report(report, model)
        return io.NodeOutput(first, low, report.text(), loaded.stack, words_of(loaded), text_encoder, ui=ui)


def _model(first: ModelPatcher, second: ModelPatcher | None, clip: CLIP | None, where: str) -> WanModelHandle:
    """Return the experts of a Wan, or a single MODEL of any kind, under the names of its LoRAs."""
    if second is None:
        return model_of(spec_of_model(first, clip, num_experts=1, where=where), first)
    specs = [spec_of_model(patcher, clip, num_experts=2, where=where) for patcher in (first, second)]
    specs[0].check_twin(specs[1], where, "the high-noise one")
    return model_of(specs[0], second, first)


def _bound(model: WanModelHandle, num_steps: int) -> list[ModelPatcher]:
    """Return the experts with their LoRAs.

    Schedules that count steps take Wan's levels with the shift that the MODELs already have, and of any other model
    the levels of its own sampling, or those of the run itself where it has as many steps.
    """
    if model.spec.family == NATIVE_FAMILY:
        levels = usual_levels(model.low_noise, num_steps)
        loras = network_parts(model.route().low_noise)
        return [bind(model.low_noise, loras, model.spec, levels, follows_run=True)]
    shifts = [shift for _, patcher in model.experts() if (shift := patched_shift(patcher)) is not None]
    plan = model.plan(RunSettings(num_steps=num_steps, shift=shifts[0] if shifts else RunSettings.shift))
    return [
        bind(patcher, network_parts(plan.route.for_expert(name)), model.spec, plan.sigmas)
        for name, patcher in model.experts()
    ]
