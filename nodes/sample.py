"""The sampler: both experts and the switch between them in one node."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..lora_core import SOLVERS, PlanError, SamplingPlan
from ..lora_core.sampling.noise import MAX_SEED
from .hosting import Node, advanced, schema
from .route import boundary_widget, parse_boundary, schedule_widgets
from .sockets import RunSettings, WanModelHandle, WanModelType
from .walk import Request, walk


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
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="Below 1 the run starts from the latent given, with that share of the noise levels.",
                ),
                *_part_widgets(),
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
        whole = model.plan(settings, cfg=(cfg_high, cfg_low), denoise=denoise)
        if start_at_step >= whole.num_steps:
            idle = f"note: nothing sampled; the run has {whole.num_steps} steps and was to begin after {start_at_step}"
            return io.NodeOutput(latent, latent, ui={"text": [idle]})  # as core's KSamplerAdvanced does
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
        )
        sampled, denoised = walk(model, request)
        return io.NodeOutput(sampled, denoised, ui={"text": [summary(model, settings, request.plan)]})


def seed_widgets() -> list[io.Int.Input]:
    return [
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=MAX_SEED,
            control_after_generate=True,
            tooltip="The seed of the noise; the same as in core's samplers gives the same noise.",
        )
    ]


def guidance_widgets() -> list[io.Float.Input | io.Combo.Input]:
    """Return the widgets of guidance and solver."""
    cfg = {"default": 1.0, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}
    return [
        io.Float.Input(
            "cfg_high", **cfg, tooltip="Guidance of the high-noise expert. 1 is none: half the time, for speed LoRAs."
        ),
        io.Float.Input("cfg_low", **cfg, tooltip="Guidance of the low-noise expert."),
        io.Combo.Input(
            "solver",
            options=list(SOLVERS),
            default="euler",
            tooltip=" ".join(f"{solver.name}: {solver.about}." for solver in SOLVERS.values()),
        ),
    ]


def _part_widgets() -> list[io.Int.Input | io.Combo.Input]:
    """Return the widgets that pick a part of the run, as core's KSamplerAdvanced has them."""
    return [
        io.Combo.Input(
            "add_noise",
            options=["enable", "disable"],
            default="enable",
            tooltip="Disable it to go on with a latent that has noise left over.",
            extra_dict=advanced(),
        ),
        io.Int.Input(
            "start_at_step", default=0, min=0, max=10_000, tooltip="The first step to do.", extra_dict=advanced()
        ),
        io.Int.Input(
            "end_at_step", default=10_000, min=0, max=10_000, tooltip="The step to stop before.", extra_dict=advanced()
        ),
        io.Combo.Input(
            "return_with_leftover_noise",
            options=["disable", "enable"],
            default="disable",
            tooltip="Leave the noise in when the run stops early, for another sampler to go on.",
            extra_dict=advanced(),
        ),
    ]


def run_settings(model: WanModelHandle, boundary: str, steps: int, shift: float) -> RunSettings:
    """Return the settings of a run: the sampler's own, the boundary from LoraRouteByNoise where it is 'auto'."""
    chosen = parse_boundary(boundary)
    return RunSettings(model.settings.boundary if chosen == "auto" else chosen, steps, shift)


def summary(model: WanModelHandle, settings: RunSettings, plan: SamplingPlan) -> str:
    """Say what was sampled, and where that is not what was planned."""
    return "\n".join([plan.table(), *planned_otherwise(model, settings)])


def planned_otherwise(model: WanModelHandle, settings: RunSettings) -> list[str]:
    """Tell of settings that LoraRouteByNoise gave otherwise; the sampler's own count."""
    planned = model.settings
    if not model.is_routed or settings == planned:
        return []
    return [
        f"note: LoraRouteByNoise planned {planned.num_steps} steps, shift {planned.shift:g}, boundary "
        f"{planned.boundary}; sampled with {settings.num_steps}, {settings.shift:g}, {settings.boundary}"
    ]


def _check_part(start_at_step: int | None, end_at_step: int | None) -> None:
    if start_at_step is not None and end_at_step is not None and start_at_step >= end_at_step:
        what = f"start_at_step {start_at_step} is not before end_at_step {end_at_step}"
        raise PlanError("Sampler6Step", what, expected="at least one step to do")
