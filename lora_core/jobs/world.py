"""The written form of a job that goes on from a picture or video: NVIDIA's three keys, and what may stand beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..checks import known_keys, whole_number
from ..engine.world import WorldRequest
from ..errors import RequestError
from ..families.opened import OpenedModel
from ..plan.sigmas import parse_sigmas
from ..stack.stack import LoraStack
from .item import MAX_SCALE, Item, size_in, stack_in, text_in
from .read import JobForm, is_replaced

_EXAMPLE = '[{"input_video": "begin.mp4", "prompt": "a cat runs", "output_video": "cat.mp4"}, …]'


def world_form(model: OpenedModel, settings: Mapping[str, Any], stack: LoraStack, scale: int) -> JobForm:
    """Return the form of such jobs for a model.

    Args:
        model: what makes them, which settles their sizes.
        settings: fields of `WorldRequest` that hold where a job says nothing.
        stack: the LoRAs of the jobs that name none.
        scale: enlarge every pixel of the videos, likewise.
    """

    def make(number: int, form: Mapping[str, Any], folder: Path) -> Item:
        known_keys(map(str, form), _KEYS, "", RequestError)
        for key in ("input_video", "prompt"):
            if not form.get(key):
                raise RequestError(key, "there is none", expected="a text", remedy="Write one")
        own: dict[str, Any] = {}
        for key in form.keys() & _SETTINGS.keys():
            own |= _SETTINGS[key](form[key])
        if {"resolution", "aspect"} & own.keys():
            own.setdefault("size", None)
        elif "size" in own:
            own |= {"resolution": None, "aspect": None}
        usual = {name: value for name, value in settings.items() if not is_replaced(_CALLED.get(name, name), form)}
        has_stack = form.get("loras") is not None or form.get("stack") is not None
        return Item(
            number=number,
            given=dict(form),
            request=WorldRequest(**usual | own).on(model),
            stack=stack_in(form) if has_stack else stack,
            radial=None,
            output=folder / Path(text_in(form.get("output_video", f"output_{number - 1}.mp4"), "output_video")),
            scale=whole_number(form.get("scale", scale), "scale", RequestError, low=1, high=MAX_SCALE),
        )

    return JobForm(_KEYS, "output_video", make, _EXAMPLE)


def _as(field: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {field: value}


def _size(value: Any) -> dict[str, Any]:
    size = size_in(value)
    return {"size": (size["height"], size["width"])}


#: key -> the fields of the request that it sets; the same words as the options of `video2world`.
_SETTINGS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "input_video": lambda value: {"input": text_in(value, "input_video")},
    "prompt": _as("prompt"),
    "negative_prompt": _as("negative_prompt"),
    "num_conditional_frames": _as("num_conditional_frames"),
    "resolution": _as("resolution"),
    "aspect": _as("aspect"),
    "size": _size,
    "fps": _as("fps"),
    "frames": _as("num_frames"),
    "steps": _as("num_steps"),
    "cfg": lambda value: {"cfg": tuple(value) if isinstance(value, list) else value},
    "shift": _as("shift"),
    "schedule": _as("schedule"),
    "sigmas": lambda value: {"sigmas": parse_sigmas(value) if isinstance(value, str) else value},
    "sigma_conditioning": _as("sigma_conditioning"),
    "solver": _as("solver"),
    "seed": _as("seed"),
}
#: Fields of the request whose key has another name, as far as one replaces another.
_CALLED = {"num_steps": "steps"}
_KEYS = (*_SETTINGS, "loras", "stack", "scale", "output_video")
