"""The node that says which expert works when, and shows the plan of a run before anything is sampled."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy_api.latest import io, ui

from ..lora_core import SamplingPlan
from ..lora_core.checks import number_in_text
from ..lora_core.errors import PlanError
from ..lora_core.plan.sigmas import check_boundary
from ..lora_core.stack.overrides import overridden, overrides_from_json
from .hosting import Node, schema
from .sockets import RunSettings, WanModelHandle, WanModelType


class LoraRouteByNoise(Node):
    """Say at which noise level the experts change over, and see the plan: expert and strengths at each step."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="LoRA Route By Noise",
            search_aliases=["boundary", "switch step", "wan moe", "sigma schedule", "lora schedule", "plan"],
            has_intermediate_output=True,
            inputs=[
                WanModelType.Input("model", tooltip="The model with its LoRAs."),
                boundary_widget("'auto' is the family's own: 0.875 for T2V, 0.9 for I2V."),
                *schedule_widgets(),
                io.String.Input(
                    "overrides",
                    multiline=True,
                    default="[]",
                    tooltip="Another expert or schedule for LoRAs of the stack, by name, as JSON: "
                    '[{"name": "style", "applies_to": "low_noise", "schedule": "fade_out"}].',
                ),
            ],
            outputs=[
                WanModelType.Output("model", display_name="model", tooltip="The model with these settings."),
                io.Image.Output("plan", display_name="plan", tooltip="A picture of the plan."),
                io.String.Output(
                    "text", display_name="text", tooltip="The plan as a table, with what looks wrong in it."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, boundary: str | None = None, overrides: str | None = None) -> bool | str:
        return cls.checked(lambda: (parse_boundary(boundary), overrides_from_json(overrides or "[]")))

    @classmethod
    def execute(cls, model: WanModelHandle, boundary: str, steps: int, shift: float, overrides: str) -> io.NodeOutput:
        settings = RunSettings(parse_boundary(boundary), steps, shift)
        stack = overridden(model.stack, overrides_from_json(overrides))
        routed = replace(model, stack=stack, settings=settings, is_routed=True)
        plan = routed.plan(settings)
        picture = plan_picture(plan)
        shown = ui.PreviewImage(picture, cls=cls).as_dict() | {"text": [plan.table()]}
        return io.NodeOutput(routed, picture, plan.table(), ui=shown)


def boundary_widget(about_auto: str) -> io.String.Input:
    return io.String.Input(
        "boundary",
        default="auto",
        tooltip=f"The noise level (sigma, 0 to 1) at and above which the high-noise expert works. {about_auto}",
    )


def schedule_widgets() -> list[io.Int.Input | io.Float.Input]:
    """Return the widgets of the flow schedule."""
    return [
        io.Int.Input(
            "steps", default=6, min=1, max=10_000, tooltip="How often the model is evaluated, by both experts together."
        ),
        io.Float.Input(
            "shift",
            default=5.0,
            min=0.01,
            max=100.0,
            step=0.1,
            tooltip="How long the run stays at high noise. Wan's few-step LoRAs are made for 5.",
        ),
    ]


def parse_boundary(text: str | None) -> float | str:
    """Return the boundary that the widget's text stands for: "auto" or a sigma."""
    if text is None or text.strip().lower() in ("auto", ""):
        return "auto"
    return check_boundary(number_in_text(text, "boundary", PlanError))


def plan_picture(plan: SamplingPlan) -> torch.Tensor:
    """Return the picture of a plan as an IMAGE (1, height, width, 3)."""
    return torch.from_numpy(plan.image().copy()).float().div(255)[None]
