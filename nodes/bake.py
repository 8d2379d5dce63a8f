"""The node that merges LoRAs into MODELs, for what sees nothing but weights: saving, merging, other packs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..lora_core import Expert, LoraStack, ModelError, ModelSpec, RoutedLora, StackError, route
from ..lora_core.plan.report import report_on_stack
from ..lora_core.wording import expert_named, expert_of, joined, said
from .base import Missing, Node, schema, shown
from .bridge import unbound
from .clip_parts import network_parts
from .kept_loras import kept_reader
from .merged import merged
from .native_spec import spec_of_model
from .sockets import LoraStackType, WanModelHandle, WanModelType
from .stack_files import loaded_stack
from .stack_on_model import with_more
from .widgets import partial_widget

SINGLE = "single expert"
_EXPERTS: dict[str, Expert] = {SINGLE: "low_noise", "high_noise": "high_noise", "low_noise": "low_noise"}


class BakeLoraStack(Node):
    """Merge LoRAs into a model through ComfyUI's own patches, so that saving and merging models keep them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Bake LoRA Stack",
            search_aliases=["merge lora", "fuse lora", "bake lora", "save model with lora", "model merge"],
            has_intermediate_output=True,
            inputs=[
                io.MultiType.Input(
                    "model",
                    [WanModelType, io.Model],
                    tooltip="A Wan model with its LoRAs, or a MODEL: of Split Wan Model, or of any loader.",
                ),
                LoraStackType.Input("stack", optional=True, tooltip="More LoRAs to merge, behind those on the model."),
                io.Combo.Input(
                    "expert",
                    options=list(_EXPERTS),
                    default=SINGLE,
                    optional=True,
                    tooltip="Which expert a MODEL of a plain loader is; a Wan model knows, and what was split from it.",
                    advanced=True,
                ),
                partial_widget(),
            ],
            outputs=[
                io.Model.Output("high_noise", display_name="high_noise", tooltip="The high-noise expert, merged."),
                io.Model.Output(
                    "low_noise", display_name="low_noise", tooltip="The low-noise expert, or the only one, merged."
                ),
                io.String.Output("report", display_name="report", tooltip="What was merged, and what could not be."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: WanModelHandle | ModelPatcher,
        stack: LoraStack | None = None,
        expert: str = SINGLE,
        allow_partial: bool = False,
    ) -> io.NodeOutput:
        more = stack or LoraStack()
        if isinstance(model, WanModelHandle):
            done, report = _of_wan_model(model, more, allow_partial=allow_partial)
        else:
            done, report = _of_model(model, more, _EXPERTS[expert], is_single=expert == SINGLE, partial=allow_partial)
        outputs = [
            done.get(
                name, Missing(cls.name(), said("what was given has no {expert} expert", expert=expert_of(name)), _OTHER)
            )
            for name in ("high_noise", "low_noise")
        ]
        return io.NodeOutput(*outputs, report, ui=shown(report))


_OTHER = "Use the other output"


def _of_wan_model(
    model: WanModelHandle, stack: LoraStack, *, allow_partial: bool
) -> tuple[dict[Expert, ModelPatcher], str]:
    """Return each expert of a Wan model with its LoRAs merged, and the report."""
    if model.guide is not None:
        remedy = "Bake the model without SteerByModel"
        raise ModelError("BakeLoraStack", "a guide steers it, which no weights can hold", remedy=remedy)
    if model.radial is not None:
        remedy = "Put RadialAttention behind BakeLoraStack"
        raise ModelError("BakeLoraStack", "radial attention is on it, which no weights can hold", remedy=remedy)
    loaded = with_more(model, stack, allow_partial=allow_partial)
    found = route(loaded, model.spec)
    _refuse_masked(found.all)
    done = {name: merged(patcher, found.for_expert(name), model.spec) for name, patcher in model.experts()}
    return done, joined("\n", [report_on_stack(loaded, found).text(), *_left_out(found.all)])


def _of_model(
    patcher: ModelPatcher, stack: LoraStack, expert: Expert, *, is_single: bool, partial: bool
) -> tuple[dict[Expert, ModelPatcher], str]:
    """Return a MODEL with the stack that is bound to it, and another one, merged, and the report."""
    plain, at_work = unbound(patcher)
    lines: list[str] = []
    if at_work is not None:
        _refuse_masked(at_work.loras)
        expert = at_work.loras[0].expert
        plain = merged(plain, at_work.loras, at_work.spec)
        lines += [
            joined("", [lora.name, ": ", expert_named(lora.expert), f" {lora.strength:g}"]) for lora in at_work.loras
        ]
        lines += _left_out(at_work.loras)
    spec = _spec(plain, at_work.spec if at_work else None, is_single=is_single)
    if len(stack):
        read = kept_reader(spec, allow_partial=partial)
        loaded = loaded_stack(stack, spec, read)
        found = route(loaded, spec)
        _refuse_masked(found.all)
        plain = merged(plain, network_parts(found.for_expert(expert)), spec)
        lines += [report_on_stack(loaded, found).text(), *_left_out(found.for_expert(expert))]
    return {expert: plain}, joined("\n", lines) if lines else said("no LoRAs")


def _spec(patcher: ModelPatcher, known: ModelSpec | None, *, is_single: bool) -> ModelSpec:
    return known or spec_of_model(patcher, num_experts=1 if is_single else 2, where="BakeLoraStack")


def _refuse_masked(loras: Sequence[RoutedLora]) -> None:
    """Refuse LoRAs that act on a part of the clip: a weight is the same for all of it."""
    if masked := [lora for lora in loras if lora.is_masked]:
        what = said("{name} has a region or a time, which no weights can hold", name=masked[0].name)
        remedy = "Take it off the LoRA, or leave the LoRA out"
        raise StackError("BakeLoraStack", what, remedy=remedy)


def _left_out(loras: Sequence[RoutedLora]) -> Iterator[str]:
    """Say of each LoRA with a schedule that weights cannot hold one."""
    for name, schedule, strength in dict.fromkeys((lora.name, lora.schedule, lora.strength) for lora in loras):
        if schedule is not None:
            yield said(
                "note: {name}: merged at {strength} at every noise level; weights cannot hold {schedule}",
                name=name,
                strength=f"{strength:g}",
                schedule=str(schedule),
            )
