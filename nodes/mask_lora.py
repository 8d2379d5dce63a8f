"""The node that lets LoRAs act in a part of the clip: of its picture, by a mask or a place, and of its time."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io
from torch import Tensor

from ..lora_core import LoraStack, StackError
from ..lora_core.checks import finite_number
from ..lora_core.errors import located
from ..lora_core.stack.region import DEFAULT_SOFT, Region
from ..lora_core.stack.time_curve import TimeCurve
from ..lora_core.wording import said
from .base import Missing, Node, schema, shown
from .folders import fingerprint
from .sockets import LoraStackType, WanModelHandle, WanModelType
from .stack_files import found, mask_file
from .stack_on_model import applied

_NO_MODEL = ("a stack was given, and it is at the output 'stack'", "Connect it to Apply LoRA Stack")


class MaskLora(Node):
    """Let a LoRA act in a part of the picture, by a mask or a place such as 'left', or in a part of the clip's time."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Mask LoRA",
            search_aliases=["regional lora", "lora mask", "attention mask", "lora timeline", "frame range", "region"],
            has_intermediate_output=True,
            inputs=[
                WanModelType.Input("model", optional=True, tooltip="A model with its LoRAs; or connect a stack."),
                LoraStackType.Input("stack", optional=True, tooltip="A stack that is on no model yet; or a model."),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where it acts: white, grey in part. One picture for the whole clip, or one a frame.",
                ),
                io.String.Input(
                    "lora",
                    default="",
                    tooltip="The LoRA's name in the stack, as the report shows it. Empty for all of them.",
                ),
                io.String.Input(
                    "region",
                    default="",
                    tooltip="Instead of a mask: left, top-right, centre, left-third, a box as fractions "
                    "(left, top, right, bottom: 0,0,0.5,1), or a picture or video in the folder input (mask.png). "
                    "'not left' is everywhere else, 'rest' where no other LoRA that has a region acts. Empty for the "
                    "whole picture.",
                ),
                io.String.Input(
                    "time",
                    default="",
                    tooltip="When it acts: from 2s, until frame 33, 1s-3s, or keyframes: 0s=0,2s=1. "
                    "Empty for the whole clip.",
                ),
                io.Float.Input(
                    "soft",
                    default=DEFAULT_SOFT,
                    min=0.0,
                    max=1.0,
                    step=0.0125,
                    round=0.0001,
                    tooltip="How wide the region's edge is, as a fraction of the picture's shorter side; 0 is a hard "
                    "edge. What the region itself says ('left; soft=0.1') counts before it.",
                ),
                io.Boolean.Input("invert", default=False, tooltip="Act everywhere but in the mask or the region."),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=240.0,
                    step=1.0,
                    tooltip="Frames per second of the finished video, for times in seconds. "
                    "0 is the model's own: 16 for Wan, 24 for Wan 2.2 5B.",
                    advanced=True,
                ),
            ],
            outputs=[
                WanModelType.Output("model", display_name="model", tooltip="The model, if one was given."),
                io.String.Output("report", display_name="report", tooltip="The stack, and where and when each acts."),
                LoraStackType.Output("stack", display_name="stack", tooltip="The LoRAs, to apply, save or reuse."),
            ],
        )

    @classmethod
    def validate_inputs(cls, region: str | None = None, time: str | None = None) -> bool | str:
        def check() -> None:
            _region(region or "", None, DEFAULT_SOFT, invert=False)
            _time(time or "", 0.0)

        return cls.checked(check)

    @classmethod
    def fingerprint_inputs(cls, region: str | None = None, **_: object) -> object:
        given = _region(region or "", None, DEFAULT_SOFT, invert=False)
        return None if given is None or given.path is None else fingerprint([mask_file(given.path)])

    @classmethod
    def execute(
        cls,
        lora: str,
        region: str,
        time: str,
        soft: float,
        invert: bool,
        fps: float = 0.0,
        model: WanModelHandle | None = None,
        stack: LoraStack | None = None,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        if (model is None) == (stack is None):
            remedy = "Connect a model with its LoRAs, or a stack"
            raise StackError(cls.name(), "it needs a model or a stack, and not both", remedy=remedy)
        rows = stack if model is None else model.loaded.stack
        where, when = _region(region, mask, soft, invert=invert), _time(time, fps)
        if where is None and when is None:
            remedy = "Connect a mask, or write a region or a time"
            raise StackError(cls.name(), "no mask, no region and no time were given", remedy=remedy)
        if where is None and invert:
            remedy = "Connect a mask or write a region, or switch invert off"
            raise StackError(cls.name(), "there is nothing to invert", remedy=remedy)
        masked = found(_masked(rows or LoraStack(), lora.strip(), where, when))
        if model is not None:
            return applied(model, model.loaded.with_settings(masked))
        text = masked.listing()
        return io.NodeOutput(Missing(cls.name(), *_NO_MODEL), text, masked, ui=shown(text))


def _masked(stack: LoraStack, name: str, where: Region | None, when: TimeCurve | None) -> LoraStack:
    """Return a stack whose row of that name, or all, has a region, a time, or both; what is None stays as it is."""
    if not len(stack):
        raise StackError("MaskLora", "the stack has no LoRAs", remedy="Add LoRAs in Apply LoRA Stack")
    for row in [stack[name]] if name else stack:
        changed = row if where is None else replace(row, region=where, mask_sha256=None)
        stack = stack.replace(row.name, changed if when is None else replace(changed, over_time=when))
    return stack


def _region(text: str, mask: Tensor | None, soft: float, *, invert: bool) -> Region | None:
    """Return the region that a mask or a text says, None for the whole picture."""
    if mask is not None and text.strip():
        what = said("a mask is connected and the region {text} written", text=text.strip())
        raise StackError("MaskLora", what, remedy="Take one of the two away")
    own = None if soft == DEFAULT_SOFT else soft
    if mask is not None:
        pixels = mask.detach().float().cpu().clamp(0, 1).numpy()
        return Region(pixels=pixels, soft=own, inverted=invert)
    if not text.strip():
        return None
    with located("MaskLora"):
        region = Region.parse(text)
    region = region if region.rest or region.soft is not None else replace(region, soft=own)
    return replace(region, inverted=region.inverted != invert)


def _time(text: str, fps: float) -> TimeCurve | None:
    """Return the curve that a text says; its seconds as frames where the video's rate is not the model's own."""
    if not text.strip():
        return None
    with located("MaskLora"):
        curve = TimeCurve.parse(text)
        rate = finite_number(fps, "fps", StackError)
    if curve.unit == "frames" or rate == 0:
        return curve
    return TimeCurve(tuple((seconds * rate, factor) for seconds, factor in curve.keyframes), "frames", curve.hard)
