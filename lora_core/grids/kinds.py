"""The kinds of axes: how each reads its values, what it calls them, and what a value changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..checks import finite_number, known, number_in_text, number_text, whole_number
from ..errors import PlanError, RequestError, StackError
from ..sampling.solvers import SOLVERS
from ..stack.entry import LoraEntry
from ..stack.schedule import StrengthSchedule
from ..stack.target_filter import TargetFilter
from ..wording import said
from .lora_files import NONE, LoraFile, read_files, short_names
from .subject import Load, Subject

if TYPE_CHECKING:
    from .axis import Axis

#: (subject, axis, value, reader of stacks) -> the changed subject.
Apply: TypeAlias = "Callable[[Subject, Axis, Any, Load], Subject]"


@dataclass(frozen=True)
class Kind:
    """A kind of axis.

    Attributes:
        about: what its values are, for pages of help.
        of_row: whether it changes one row of the stack, named beside it, else the request.
        read: (value as it was written, folder that paths are relative to) -> the values it stands for.
        apply: what a value changes.
        labels: what values are called.
    """

    name: str
    about: str
    of_row: bool
    read: Callable[[object, Path | None], Sequence[Any]]
    apply: Apply
    labels: Callable[[Sequence[Any]], Sequence[str]] = lambda values: [str(value) for value in values]


def _number(value: object, where: str) -> float:
    return number_in_text(value, where, PlanError) if isinstance(value, str) else finite_number(value, where, PlanError)


def _whole(name: str) -> Callable[[object, Path | None], list[int]]:
    def read(value: object, folder: Path | None) -> list[int]:
        if isinstance(value, str) and value.strip().removeprefix("-").isdecimal():
            value = int(value)
        return [whole_number(value, name, RequestError, low=0)]

    return read


def _float(name: str) -> Callable[[object, Path | None], list[float]]:
    return lambda value, folder: [_number(value, name)]


def _text(name: str) -> Callable[[object, Path | None], list[str]]:
    def read(value: object, folder: Path | None) -> list[str]:
        if not isinstance(value, str):
            raise RequestError(
                name, said("{value!r:.60} is no text", value=value), expected="a text", remedy="Write a text"
            )
        return [value]

    return read


def _guidance(value: object, folder: Path | None) -> list[float | tuple[float, float]]:
    """Read one number, or two for the two experts: a list, or a text with a comma."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    numbers = [_number(part, "cfg") for part in parts]
    if len(numbers) not in (1, 2):
        raise PlanError(
            "cfg",
            said("{count} values", count=len(numbers)),
            expected="one number, or (high_noise, low_noise)",
            remedy="Give one or two",
        )
    return [numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])]


def _solver(value: object, folder: Path | None) -> list[str]:
    return [known(value, SOLVERS, "solver", RequestError)]


def _schedule(value: object, folder: Path | None) -> list[StrengthSchedule | None]:
    return [None if value == NONE else StrengthSchedule.from_json(value)]


def _targets(value: object, folder: Path | None) -> list[TargetFilter | None]:
    return [None if value == NONE else TargetFilter.from_json(value)]


def _left_out(value: object, folder: Path | None) -> list[str | None]:
    return [None if value == NONE else _text("without")(value, folder)[0]]


def _none_or_text(values: Sequence[object]) -> list[str]:
    return [NONE if value is None else str(value) for value in values]


def _numbers(values: Sequence[float]) -> list[str]:
    return [number_text(value) for value in values]


def _cfg_labels(values: Sequence[Any]) -> list[str]:
    return [", ".join(map(number_text, value)) if isinstance(value, tuple) else number_text(value) for value in values]


def _asking(name: str) -> Apply:
    """Return what puts a value into the request."""
    return lambda subject, axis, value, load: replace(subject, request=replace(subject.request, **{name: value}))


def _on_row(change: Callable[[LoraEntry, Any], LoraEntry]) -> Apply:
    """Return what changes the axis's row, on its expert."""
    return lambda subject, axis, value, load: subject.with_row(
        axis.lora, axis.expert, lambda row: change(row, value), load
    )


def _with_strength(subject: Subject, axis: Axis, value: float, load: Load) -> Subject:
    return subject.with_strength(axis.lora, axis.expert, value, load)


def _without(subject: Subject, axis: Axis, name: str | None, load: Load) -> Subject:
    """Return the subject with a row off, both halves of one that was taken apart."""
    if name is None:
        return subject
    return subject.with_row(name, "both", lambda row: replace(row, enabled=False), load)


def _with_file(row: LoraEntry, file: LoraFile) -> LoraEntry:
    """Return a row with another file in its place; what was known of the old one goes."""
    if file.path is None:
        return replace(row, enabled=False)
    if file.low_noise_path is not None and row.applies_to in ("high_noise", "low_noise"):
        file = LoraFile(file.low_noise_path if row.applies_to == "low_noise" else file.path)
    if row.weights is not None or row.low_noise_weights is not None:
        what = "it was made in memory"
        raise StackError(f"LoRA {row.name!r}", what, remedy="Write its weights to a file first")
    return replace(
        row,
        path=file.path,
        low_noise_path=file.low_noise_path,
        found_twin=False,
        sha256=None,
        low_noise_sha256=None,
    )


_KINDS = (
    Kind("strength", "how strongly a LoRA acts", True, _float("strength"), _with_strength, _numbers),
    Kind(
        "file",
        "files in a LoRA's place: a path, HIGH + LOW, a pattern, the folder of a training, none",
        True,
        read_files,
        _on_row(_with_file),
        short_names,
    ),
    Kind(
        "targets",
        "block filters of a LoRA, such as 0-9=0.5 or ffn=0, or none",
        True,
        _targets,
        _on_row(lambda row, value: replace(row, target_filter=value)),
        _none_or_text,
    ),
    Kind(
        "schedule",
        "strength schedules of a LoRA, such as fade_out, or none",
        True,
        _schedule,
        _on_row(lambda row, value: replace(row, schedule=value)),
        _none_or_text,
    ),
    Kind(
        "without", "names of LoRAs to leave out, one for each clip, or none", False, _left_out, _without, _none_or_text
    ),
    Kind("steps", "how many steps", False, _whole("steps"), _asking("num_steps")),
    Kind("seed", "seeds of the noise", False, _whole("seed"), _asking("seed")),
    Kind("prompt", "what to show", False, _text("prompt"), _asking("prompt")),
    Kind("negative_prompt", "what not to show", False, _text("negative_prompt"), _asking("negative_prompt")),
    Kind("cfg", "guidance: one number, or HIGH,LOW", False, _guidance, _asking("cfg"), _cfg_labels),
    Kind(
        "shift",
        "shifts of the noise schedule",
        False,
        _float("shift"),
        _asking("shift"),
        _numbers,
    ),
    Kind("solver", "solvers", False, _solver, _asking("solver")),
)
#: By name, in the order of pages of help.
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}
