"""An axis of a grid: what differs from column to column, or from row to row, and the values it takes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from ..checks import known, known_keys, shown, typed
from ..errors import RequestError
from ..wording import said
from .kinds import KINDS, Kind
from .subject import Load, Side, Subject

#: How an axis is written as a text.
AXIS_FORM = "KIND [LORA] [EXPERT] = VALUE | VALUE | …"
_AXIS_EXAMPLE = "strength zibbo_character low_noise = 0 | 0.5 | 1"
_KEYS = ("axis", "lora", "expert", "values", "labels")
#: What people call the experts, and both of them.
_SIDES: Mapping[str, Side] = {
    "high": "high_noise",
    "low": "low_noise",
    "tied": "both",
    **{side: side for side in get_args(Side)},
}
#: Nobody looks at more beside each other.
_MOST_VALUES = 1000


@dataclass(frozen=True)
class Axis:
    """What differs along one side of a grid; valid when built.

    Attributes:
        kind: a key of `KINDS`.
        values: at least two, read: each as the kind's `apply` takes it.
        lora: the row of the stack that it changes, for kinds of a row.
        expert: on which of the experts.
        labels: what the values are called, one each.
    """

    kind: str
    values: tuple[Any, ...]
    lora: str = ""
    expert: Side = "both"
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kind = self._kind
        if kind.of_row and not self.lora:
            what = said("{kind} is of a LoRA and none is named", kind=self.kind)
            raise RequestError("axis", what, expected=_AXIS_EXAMPLE, remedy="Name a LoRA of the stack")
        if not kind.of_row and (self.lora or self.expert != "both"):
            what = said("{kind} is of no LoRA and no expert", kind=self.kind)
            raise RequestError("axis", what, expected=f"{self.kind} = … | …", remedy="Leave the name out")
        if len(self.values) < 2:
            what = said("{kind} has {count} value", kind=self.kind, count=len(self.values))
            raise RequestError("axis", what, expected="at least two", remedy="Add one, or leave the axis out")
        if len(self.values) > _MOST_VALUES:
            what = said("{kind} has {count:,} values", kind=self.kind, count=len(self.values))
            raise RequestError(
                "axis", what, expected=said("at most {most:,}", most=_MOST_VALUES), remedy="Choose fewer"
            )
        labels = self.labels or tuple(kind.labels(self.values))
        if len(labels) != len(self.values) or not all(isinstance(label, str) for label in labels):
            what = said("{count} labels for {values} values", count=len(labels), values=len(self.values))
            raise RequestError("axis", what, expected="a text for each", remedy="Correct the labels")
        object.__setattr__(self, "labels", tuple(labels))
        if twice := next((label for label in labels if labels.count(label) > 1), None):
            what = said("{value} is there twice", value=shown(twice))
            raise RequestError(self.title, what, remedy="Leave one out")

    @property
    def title(self) -> str:
        """What it is called, such as `strength of zibbo_character, low_noise`."""
        if not self.lora:
            return self.kind
        if self.expert == "both":
            return said("{kind} of {lora}", kind=self.kind, lora=self.lora)
        return said("{kind} of {lora}, {expert}", kind=self.kind, lora=self.lora, expert=self.expert)

    @property
    def _kind(self) -> Kind:
        return KINDS[known(self.kind, KINDS, "axis", RequestError)]

    def apply(self, subject: Subject, place: int, load: Load) -> Subject:
        """Return a subject with the value at a place of this axis."""
        return self._kind.apply(subject, self, self.values[place], load)

    def to_json(self) -> dict[str, object]:
        """Return it as people write it, its values as their labels are told."""
        row = {"lora": self.lora, "expert": self.expert} if self.lora else {}
        return {"axis": self.kind, **row, "values": list(self._kind.labels(self.values)), "labels": list(self.labels)}

    @classmethod
    @typed(RequestError)
    def parse(cls, text: str, folder: Path | None = None) -> Axis:
        """Read the text form: `strength zibbo low_noise = 0 | 0.5 | 1`, `seed = 1 | 2`, `prompt = a cat | a dog`.

        Names with spaces stand in quotation marks. `folder` is what paths are relative to, where something lies there.
        """
        head, equals, values = text.partition("=")
        try:
            words = shlex.split(head)
        except ValueError:
            words = []
        if not equals or not words:
            raise RequestError(
                "axis", said("{text} is none", text=shown(text)), expected=AXIS_FORM, remedy="Correct the text"
            )
        kind, *rest = words
        known(kind, KINDS, "axis", RequestError)
        expert = _SIDES[rest.pop()] if len(rest) > 1 and rest[-1] in _SIDES else "both"
        if len(rest) > 1:
            what = said("{word} says nothing in {text}", word=shown(rest[1]), text=shown(text))
            raise RequestError("axis", what, expected=AXIS_FORM, remedy="Quote a name that has spaces")
        return cls.of(kind, [value.strip() for value in values.split("|")], "".join(rest), expert, folder=folder)

    @classmethod
    def from_json(cls, form: object, folder: Path | None = None) -> Axis:
        """Read `{"axis": "strength", "lora": "zibbo", "expert": "low_noise", "values": [0, 1]}`, or the text form."""
        if isinstance(form, str):
            return cls.parse(form, folder)
        if not isinstance(form, Mapping):
            raise RequestError(
                "axis", said("{form!r:.60} is none", form=form), expected=_AXIS_EXAMPLE, remedy="Correct the axis"
            )
        known_keys(map(str, form), _KEYS, "axis", RequestError)
        kind, values, expert = form.get("axis"), form.get("values"), form.get("expert", "both")
        known(kind, KINDS, "axis", RequestError)
        known(expert, _SIDES, "axis expert", RequestError)
        labels, lora = form.get("labels", ()), form.get("lora", "")
        if not isinstance(values, list) or not isinstance(labels, list | tuple) or not isinstance(lora, str):
            what = said("{form!r:.60} has no list of values", form=dict(form))
            raise RequestError("axis", what, expected='{axis = "seed", values = [1, 2]}', remedy="Correct the axis")
        return cls.of(str(kind), values, lora, _SIDES[str(expert)], labels=labels, folder=folder)

    @classmethod
    def of(
        cls,
        kind: str,
        values: Sequence[object],
        lora: str = "",
        expert: Side = "both",
        *,
        labels: Sequence[str] = (),
        folder: Path | None = None,
    ) -> Axis:
        """Return the axis of values as they are written; a pattern or folder among files stands for all it meets."""
        read = KINDS[known(kind, KINDS, "axis", RequestError)].read
        return cls(kind, tuple(chain.from_iterable(read(v, folder) for v in values)), lora, expert, tuple(labels))
