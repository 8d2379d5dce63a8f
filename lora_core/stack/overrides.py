"""Overrides: another expert or schedule for LoRAs of a stack, by name, without changing the rows themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast, get_args

from ..checks import known, known_keys, parse_json
from ..errors import StackError
from ..wording import said
from .entry import AppliesTo
from .loaded import LoadedStack
from .schedule import StrengthSchedule

_FORM = '[{"name": "style", "applies_to": "low_noise", "schedule": "fade_out"}]'
_WHERE = "overrides"


@dataclass(frozen=True)
class Override:
    """What is different for one LoRA.

    Attributes:
        applies_to: another expert, or None to leave it.
        schedule: another schedule; None takes the row's away if `sets_schedule`.
        sets_schedule: whether it says anything of the schedule.
    """

    name: str
    applies_to: AppliesTo | None = None
    schedule: StrengthSchedule | None = None
    sets_schedule: bool = False

    @classmethod
    def from_json(cls, form: object) -> Override:
        if not isinstance(form, Mapping):
            raise StackError(
                _WHERE, said("{form!r} is no override", form=form), expected=_FORM, remedy="Correct the row"
            )
        known_keys(map(str, form), ("name", "applies_to", "schedule"), _WHERE, StackError)
        name, schedule = form.get("name"), form.get("schedule")
        if not isinstance(name, str) or not name.strip():
            raise StackError(
                _WHERE,
                said("the name {name!r} is no LoRA's", name=name),
                expected="the name of a LoRA in the stack",
                remedy="Choose a LoRA of the stack",
            )
        if len(form) == 1:
            raise StackError(
                _WHERE,
                said("{name!r} changes nothing", name=name),
                expected=_FORM,
                remedy="Add a key, or remove the row",
            )
        applies_to = form.get("applies_to")
        if applies_to is not None:
            known(applies_to, get_args(AppliesTo), f"{_WHERE} {name!r} applies_to", StackError)
        return cls(
            name=name,
            applies_to=cast("AppliesTo | None", applies_to),
            schedule=StrengthSchedule.from_json(schedule) if schedule not in (None, "") else None,
            sets_schedule="schedule" in form,
        )


def overrides_from_json(text: str) -> tuple[Override, ...]:
    """Read the overrides that JSON text stands for, one for each LoRA at most."""
    rows = parse_json(text.strip() or "[]", _WHERE, _FORM, StackError)
    if not isinstance(rows, list):
        raise StackError(_WHERE, "no list of objects", expected=_FORM, remedy="Correct the text")
    overrides = tuple(Override.from_json(row) for row in rows)
    names = [override.name for override in overrides]
    if (twice := next((name for name, count in Counter(names).items() if count > 1), None)) is not None:
        raise StackError(_WHERE, said("{twice!r} is overridden twice", twice=twice), remedy="Put both into one row")
    return overrides


def overridden(loaded: LoadedStack, overrides: Iterable[Override]) -> LoadedStack:
    """Return the stack with these LoRAs changed; a name that is not in it is refused."""
    for override in overrides:
        entry = loaded.stack[override.name]
        schedule = override.schedule if override.sets_schedule else entry.schedule
        loaded = loaded.rerouted(entry.name, override.applies_to or entry.applies_to, schedule)
    return loaded
