"""The written form of one job: what `generate` takes, under one key each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..attention.wishes import RadialWishes
from ..checks import known_keys, whole_number
from ..engine.request import GenerationRequest
from ..errors import RequestError
from ..plan.sigmas import parse_sigmas
from ..stack.stack import LoraStack

MAX_SCALE = 16


@dataclass(frozen=True, eq=False)
class Item:
    """One job of a list, its values checked; no file is touched but the stack's own, where one is named.

    Attributes:
        number: its place in the list, from 1.
        given: the keys as they were written, defaults filled in.
        output: where the video goes; the record goes beside it.
        scale: enlarge every pixel of the video.
    """

    number: int
    given: Mapping[str, Any]
    request: GenerationRequest
    stack: LoraStack
    radial: RadialWishes | None
    output: Path
    scale: int

    @property
    def record_file(self) -> Path:
        """Where the job's record goes: the video's name with .json behind it."""
        return self.output.with_name(f"{self.output.name}.json")

    @classmethod
    def from_json(cls, number: int, form: Mapping[str, Any], folder: Path) -> Item:
        """Read one job; outputs and pictures are relative to where the program runs, outputs within `folder`.

        Raises:
            RequestError, PlanError, StackError: an unknown key, or a value out of range; `where` is the key.
        """
        known_keys(map(str, form), KEYS, "", RequestError)
        if "prompt" not in form:
            raise RequestError("prompt", "there is none", expected="a text, perhaps empty", remedy="Write one")
        settings: dict[str, Any] = {}
        for key in form.keys() & _SETTINGS.keys():
            settings |= _SETTINGS[key](form[key])
        output = text_in(form.get("output", f"{number:03}.mp4"), "output")
        radial = form.get("radial")
        return cls(
            number=number,
            given=dict(form),
            request=GenerationRequest(**settings),
            stack=stack_in(form),
            radial=None if radial is None else RadialWishes.parse(text_in(radial, "radial"), "radial"),
            output=folder / Path(output).expanduser(),
            scale=whole_number(form.get("scale", 1), "scale", RequestError, low=1, high=MAX_SCALE),
        )


def _as(field: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {field: value}


def size_in(value: Any) -> dict[str, Any]:
    """Read WIDTHxHEIGHT, or a list of the two."""
    parts = value.lower().split("x") if isinstance(value, str) else value
    if not isinstance(parts, list) or len(parts) != 2 or not all(str(part).strip().isdecimal() for part in parts):
        expected = '"WIDTHxHEIGHT", such as "832x480"'
        raise RequestError("size", f"{value!r:.60} is no size", expected=expected, remedy="Give both in pixels")
    return {"width": int(parts[0]), "height": int(parts[1])}


def _picture(field: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {field: None if value is None else Path(text_in(value, field)).expanduser()}


#: key -> the fields of the request that it sets; the same words as the options of `generate`.
_SETTINGS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "prompt": _as("prompt"),
    "negative_prompt": _as("negative_prompt"),
    "image": _picture("image"),
    "last_image": _picture("last_image"),
    "frames": _as("num_frames"),
    "size": size_in,
    "fps": _as("fps"),
    "seed": _as("seed"),
    "steps": _as("num_steps"),
    "shift": _as("shift"),
    "sigmas": lambda value: {"sigmas": parse_sigmas(value) if isinstance(value, str) else value},
    "boundary": lambda value: {"boundary": None if value == "none" else value},
    "cfg": lambda value: {"cfg": tuple(value) if isinstance(value, list) else value},
    "solver": _as("solver"),
}
#: Every key of a job.
KEYS = (*_SETTINGS, "loras", "stack", "radial", "output", "scale")


def stack_in(form: Mapping[str, Any]) -> LoraStack:
    """Return the LoRAs of the stack file followed by those given one by one, which are found when they are read."""
    stack = LoraStack()
    if form.get("stack") is not None:
        stack = LoraStack.read_preset(text_in(form["stack"], "stack"))
    return stack if form.get("loras") is None else stack.joined(LoraStack.from_json(form["loras"], "loras"))


def text_in(value: Any, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise RequestError(key, f"{value!r:.60} is no text", expected="a text", remedy="Write a text")
    return value
