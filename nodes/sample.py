"""The sampler: both experts and the switch between them in one node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..lora_core import PlanError, RunSettings
from ..lora_core.plan.length import length_notes
from ..lora_core.plan.plan import WIDTH
from ..lora_core.plan.report import SAID_BY_ROWS
from ..lora_core.regions.clip_mask import ClipSize, clip_masks, mask_notes
from ..lora_core.wording import Said, joined, said, wrapped
from .base import Node, schema, shown
from .call_masks import clip_of_latents
from .radial_override import radial_of
from .run_settings import planned_otherwise, run_settings
from .sockets import WanModelHandle, WanModelType
from .walk import Request, walk
from .widgets import (
    boundary_widget,
    denoise_widget,
    guidance_widgets,
    parse_boundary,
    part_widgets,
    schedule_widgets,
    seed_widgets,
)


class Sampler6Step(Node):
    """Denoise with the high-noise expert, then the low-noise one: six steps without guidance unless told otherwise."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Sampler 6 Step",
            search_aliases=["ksampler", "wan sampler", "moe sampler", "two stage sampler", "lightning sampler"],
            has_intermediate_output=True,
            inputs=[
                WanModelType.Input("model", tooltip="The model with its LoRAs, routed or not."),
                io.Conditioning.Input("positive", tooltip="What the video should show."),
                io.Latent.Input("latent", tooltip="An empty latent video, or one to start from with denoise below 1."),
                *seed_widgets(),
                *schedule_widgets(),
                *guidance_widgets(),
                boundary_widget("'auto' is what LoraRouteByNoise says, else the family's own."),
                denoise_widget("the run starts"),
                *part_widgets(),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="What it should not show; needed where a cfg is not 1."
                ),
            ],
            outputs=[
                io.Latent.Output(
                    "latent", display_name="latent", tooltip="The result; noisy still if noise is left over."
                ),
                io.Latent.Output(
                    "denoised", display_name="denoised", tooltip="What the last step predicted without noise."
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, boundary: str | None = None, start_at_step: int | None = None, end_at_step: int | None = None
    ) -> bool | str:
        return cls.checked(lambda: (parse_boundary(boundary), _check_part(start_at_step, end_at_step)))

    @classmethod
    def execute(
        cls,
        model: WanModelHandle,
        positive: Any,
        latent: dict[str, Any],
        seed: int,
        steps: int,
        shift: float,
        cfg_high: float,
        cfg_low: float,
        solver: str,
        boundary: str,
        denoise: float,
        add_noise: str = "enable",
        start_at_step: int = 0,
        end_at_step: int = 10_000,
        return_with_leftover_noise: str = "disable",
        negative: Any = None,
    ) -> io.NodeOutput:
        settings = run_settings(model, boundary, steps, shift)
        whole = model.plan(replace(settings, cfg=(cfg_high, cfg_low), denoise=denoise))
        if start_at_step >= whole.num_steps:
            idle = said(
                "note: nothing sampled; the run has {steps} steps and was to begin after {start}",
                steps=whole.num_steps,
                start=start_at_step,
            )
            return io.NodeOutput(latent, latent, ui=shown(idle))  # as core's KSamplerAdvanced does
        request = Request(
            plan=whole.part(start_at_step, end_at_step),
            positive=positive,
            negative=negative,
            latent=latent,
            seed=seed,
            solver=solver,
            sigmas=whole.sigmas,
            shift=shift,
            add_noise=add_noise == "enable",
            force_full_denoise=return_with_leftover_noise == "disable",
            radial=radial_of(model, whole.sigmas),
        )
        sampled, denoised = walk(model, request)
        clip = clip_of_latents(sampled["samples"], model.spec)
        return io.NodeOutput(sampled, denoised, ui=shown(_summary(model, settings, request, clip)))


def _summary(model: WanModelHandle, settings: RunSettings, request: Request, clip: ClipSize) -> Said:
    """Say what was sampled, and where that is not what was planned."""
    loras, spec = request.plan.route.all, model.spec
    notes = [] if request.radial is None else list(request.radial.notes())
    notes += mask_notes(clip_masks(loras, clip, spec), loras, clip)
    notes += length_notes(model.loaded, clip.num_frames, is_radial=request.radial is not None)
    told = [wrapped(note, WIDTH) for note in notes]
    return joined("\n", [request.plan.table(without=SAID_BY_ROWS), *planned_otherwise(model, settings), *told])


def _check_part(start_at_step: int | None, end_at_step: int | None) -> None:
    if start_at_step is not None and end_at_step is not None and start_at_step >= end_at_step:
        what = said(
            "start_at_step {start_at_step} is not before end_at_step {end_at_step}",
            start_at_step=start_at_step,
            end_at_step=end_at_step,
        )
        raise PlanError(
            "Sampler6Step", what, expected="at least one step to do", remedy="Lower start_at_step, or raise end_at_step"
        )
