"""The node that interpolates between two LoRAs of a model."""

from __future__ import annotations

from comfy_api.latest import io

from ..lora_core import StrengthSchedule
from .base import Node, schema
from .sockets import LoraStackType, WanModelHandle, WanModelType
from .stack_on_model import applied

FIXED = "fixed"
CROSS_FADE = "cross-fade"


class BlendLoras(Node):
    """Blend two LoRAs of a model: in a fixed ratio, or cross-fading from one to the other while the noise falls."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Blend LoRAs",
            search_aliases=["interpolate loras", "mix loras", "lora morph", "cross fade", "lora merge ratio"],
            has_intermediate_output=True,
            inputs=[
                WanModelType.Input("model", tooltip="The model, with both LoRAs on it."),
                io.String.Input("first", tooltip="The name of one LoRA in the stack, as the report shows it."),
                io.String.Input("second", tooltip="The name of the other LoRA."),
                io.Combo.Input(
                    "mode",
                    options=[FIXED, CROSS_FADE],
                    default=FIXED,
                    tooltip="fixed: the same ratio at every step, from 'amount'. "
                    "cross-fade: a ratio that follows the noise, from 'schedule'.",
                ),
                io.Float.Input(
                    "amount",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The first LoRA's share when fixed: 1 is the first alone, 0 the second alone.",
                ),
                io.String.Input(
                    "schedule",
                    default="fade_in",
                    tooltip="The first LoRA's share when cross-fading, over the run: fade_in goes from the second to "
                    "the first, fade_out from the first to the second; also keyframes:1=0.2,0.5=1.",
                ),
            ],
            outputs=[
                WanModelType.Output("model", display_name="model", tooltip="The model with the two LoRAs blended."),
                io.String.Output("report", display_name="report", tooltip="The stack, with the strengths it has now."),
                LoraStackType.Output(
                    "stack", display_name="stack", tooltip="All LoRAs on the model, to save or reuse."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, schedule: str | None = None) -> bool | str:
        # Read only when cross-fading, but a text that is no schedule is a mistake in either mode.
        return cls.checked(lambda: None if schedule is None else StrengthSchedule.parse(schedule))

    @classmethod
    def execute(
        cls, model: WanModelHandle, first: str, second: str, mode: str, amount: float, schedule: str
    ) -> io.NodeOutput:
        share = amount if mode == FIXED else StrengthSchedule.parse(schedule)
        return applied(model, model.loaded.with_settings(model.loaded.stack.blend(first, second, share)))
