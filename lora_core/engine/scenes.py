"""The written form of scenes: clips to be made one after another, each with a prompt and LoRAs of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..checks import known_keys, parse_json, whole_number
from ..errors import RequestError, located
from ..sampling.noise import MAX_SEED
from ..stack.stack import LoraStack
from ..wording import said

_FORM = '[{"prompt": "a cat runs", "length": 49, "preset": "neon"}, {"prompt": "it stops"}]'
_KEYS = ("prompt", "length", "preset", "loras", "negative", "seed")


@dataclass(frozen=True)
class Scene:
    """One clip of several; what is None is as for all of them.

    Attributes:
        num_frames: called `length` in the written form.
        preset: the name of a stack.
        loras: a stack of the scene's own, instead of a preset.
    """

    prompt: str
    num_frames: int | None = None
    preset: str | None = None
    loras: LoraStack | None = None
    negative_prompt: str | None = None
    seed: int | None = None

    @classmethod
    def from_json(cls, form: object) -> Scene:
        """Read one scene; files and presets are not touched."""
        if not isinstance(form, Mapping):
            raise RequestError(
                "", said("{form!r} is no scene", form=form), expected='{"prompt": ...}', remedy="Correct the row"
            )
        known_keys(map(str, form), _KEYS, "", RequestError)
        if form.get("prompt") is None:
            raise RequestError("prompt", "there is none", expected="a text, perhaps empty", remedy="Write one")
        if form.get("preset") is not None and form.get("loras") is not None:
            raise RequestError("preset", "the scene has loras too", remedy="Keep one of them, or put all into a preset")
        length, loras, seed = form.get("length"), form.get("loras"), form.get("seed")
        return cls(
            prompt=_text(form, "prompt") or "",
            num_frames=None if length is None else whole_number(length, "length", RequestError, low=1),
            preset=_text(form, "preset"),
            loras=None if loras is None else LoraStack.from_json(loras, "loras"),
            negative_prompt=_text(form, "negative"),
            seed=None if seed is None else whole_number(seed, "seed", RequestError, low=0, high=MAX_SEED),
        )


def scenes_from_json(text: str) -> tuple[Scene, ...]:
    """Read the scenes that JSON text stands for, at least one."""
    rows = parse_json(text, "scenes", _FORM, RequestError)
    if not isinstance(rows, list) or not rows:
        what = "there is none" if rows == [] else "no list of scenes"
        raise RequestError("scenes", what, expected=_FORM, remedy="Add a scene")
    scenes = []
    for number, row in enumerate(rows, 1):
        with located(f"scene {number}"):
            scenes.append(Scene.from_json(row))
    return tuple(scenes)


def _text(form: Mapping[str, object], key: str) -> str | None:
    value = form.get(key)
    if value is not None and not isinstance(value, str):
        raise RequestError(key, said("{value!r} is no text", value=value), expected="a text", remedy="Write a text")
    return value
