"""The node that says which expert works when, and shows the plan of a run before anything is sampled."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy_api.latest import io, ui

from ..lora_core import RunSettings, SamplingPlan
from ..lora_core.plan.report import SAID_BY_ROWS
from ..lora_core.stack.overrides import overridden, overrides_from_json
from .base import Node, schema, shown
from .sockets import WanModelHandle, WanModelType
from .widgets import boundary_widget, parse_boundary, schedule_widgets


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
        settings = RunSettings(num_steps=steps, shift=shift, boundary=parse_boundary(boundary))
        loaded = overridden(model.loaded, overrides_from_json(overrides))
        routed = replace(model, loaded=loaded, settings=settings, is_routed=True)
        plan = routed.plan(settings)
        picture = plan_picture(plan)
        output = ui.PreviewImage(picture, cls=cls).as_dict() | shown(plan.table(without=SAID_BY_ROWS))
        return io.NodeOutput(routed, picture, plan.table(without=SAID_BY_ROWS), ui=output)


def plan_picture(plan: SamplingPlan) -> torch.Tensor:
    """Return the picture of a plan as an IMAGE (1, height, width, 3)."""
    return torch.from_numpy(plan.image().copy()).float().div(255)[None]
