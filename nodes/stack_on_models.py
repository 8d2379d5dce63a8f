"""The node that puts a stack of LoRAs on plain MODELs, in the place of a graph's LoRA loaders."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..lora_core import LoraStack, RunSettings
from ..lora_core.plan.report import report_on_stack
from .base import Missing, Node, schema
from .bridge import bind, patched_shift
from .load import paired
from .sockets import LoraStackType, WanModelHandle
from .stack_files import fingerprint_stack, parse_stack
from .stack_on_model import shown_report, with_more, words_of
from .widgets import partial_widget, schedule_widgets, stack_widget, words_output


class LoraStackOnModels(Node):
    """Put a stack of LoRAs on the MODELs of a graph that exists: its loaders and samplers stay as they are."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        steps, _ = schedule_widgets()
        return schema(
            cls,
            display_name="LoRA Stack On Models",
            search_aliases=["lora loader", "power lora", "ksampler lora", "lora stack", "wan moe lora", "drop-in"],
            has_intermediate_output=True,
            inputs=[
                io.Model.Input("high_noise", tooltip="The high-noise expert, or the only MODEL of a Wan with one."),
                io.Model.Input("low_noise", optional=True, tooltip="The low-noise expert of a Wan with two."),
                stack_widget(),
                LoraStackType.Input(
                    "stack", optional=True, tooltip="More LoRAs, from Load LoRA Stack; they come first."
                ),
                steps,
                partial_widget(),
            ],
            outputs=[
                io.Model.Output("high_noise", display_name="high_noise", tooltip="The high-noise expert, or the only."),
                io.Model.Output("low_noise", display_name="low_noise", tooltip="The low-noise expert."),
                io.String.Output("report", display_name="report", tooltip="What became of every file and tensor."),
                LoraStackType.Output("stack", display_name="stack", tooltip="All LoRAs, to save or reuse."),
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
        cls,
        high_noise: ModelPatcher,
        loras: str,
        steps: int,
        low_noise: ModelPatcher | None = None,
        stack: LoraStack | None = None,
        allow_partial: bool = False,
    ) -> io.NodeOutput:
        model = paired(high_noise, low_noise, cls.name())
        rows = (stack or LoraStack()).joined(parse_stack(loras, cls.name()))
        loaded = with_more(model, rows, allow_partial=allow_partial)
        changed = model.with_loras(loaded, allow_partial=allow_partial)
        report = report_on_stack(loaded, changed.route())
        first, *second = _bound(changed, steps)
        none = Missing(cls.name(), "one MODEL was given, and it is at the first output", "Connect low_noise")
        low, ui = second[0] if second else none, shown_report(report, model)
        return io.NodeOutput(first, low, report.text(), loaded.stack, words_of(loaded), ui=ui)


def _bound(model: WanModelHandle, num_steps: int) -> list[ModelPatcher]:
    """Return the experts with their LoRAs; schedules that count steps take the shift that the MODELs already have."""
    shifts = [shift for _, patcher in model.experts() if (shift := patched_shift(patcher)) is not None]
    plan = model.plan(RunSettings(num_steps=num_steps, shift=shifts[0] if shifts else RunSettings.shift))
    return [bind(patcher, plan.route.for_expert(name), model.spec, plan.sigmas) for name, patcher in model.experts()]
