"""The node that puts a stack of LoRAs on a Wan model."""

from __future__ import annotations

from comfy_api.latest import io

from ..lora_core import LoraStack
from .base import Node, schema
from .sockets import LoraStackType, WanModelHandle, WanModelType
from .stack_files import fingerprint_stack, parse_stack
from .stack_on_model import applied, with_more, words_of
from .widgets import partial_widget, stack_widget, words_output


class ApplyLoraStack(Node):
    """Put a stack of LoRAs on a Wan model: each on the expert it is made for, none merged into the weights."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Apply LoRA Stack",
            search_aliases=["lora loader", "power lora", "multi lora", "lora stack", "wan lora", "lightx2v"],
            has_intermediate_output=True,
            inputs=[
                WanModelType.Input("model", tooltip="The model; LoRAs already on it stay on it."),
                stack_widget(),
                LoraStackType.Input(
                    "stack",
                    optional=True,
                    tooltip="More LoRAs, from Load LoRA Stack or another Apply LoRA Stack; they come first.",
                ),
                partial_widget(),
            ],
            outputs=[
                WanModelType.Output("model", display_name="model", tooltip="The model with the LoRAs on it."),
                io.String.Output("report", display_name="report", tooltip="What became of every file and tensor."),
                LoraStackType.Output(
                    "stack", display_name="stack", tooltip="All LoRAs on the model, to save or reuse."
                ),
                words_output(),
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
        cls, model: WanModelHandle, loras: str, stack: LoraStack | None = None, allow_partial: bool = False
    ) -> io.NodeOutput:
        rows = parse_stack(loras, cls.name())
        loaded = with_more(model, (stack or LoraStack()).joined(rows), allow_partial=allow_partial)
        return applied(model, loaded, words_of(loaded), allow_partial=allow_partial)
